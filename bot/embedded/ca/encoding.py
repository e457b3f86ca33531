"""The encoding of certificates: DER (X.690), and what OpenSSL reads but `cryptography` doesn't.

What one part of a certificate contains must not hide what the others contain.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

# Tags in a certificate (RFC 5280, section 4.1).
_BOOLEAN, _INTEGER, _OCTETS, _OID, _UTF8 = 0x01, 0x02, 0x04, 0x06, 0x0C
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_SEQUENCE, _SET, _CONSTRUCTED = 0x30, 0x31, 0x20
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_ECDSA = bytes.fromhex("2a8648ce3d04")
_V3 = bytes.fromhex("020102")
#: How text is encoded in each type of string (X.680, section 41; X.690, section 8.23).
_STRINGS = {
    _UTF8: "utf-8",
    0x14: "latin-1",  # TeletexString, as issuers use it (RFC 5280, section 4.1.2.4)
    0x1C: "utf-32-be",  # UniversalString
    0x1E: "utf-16-be",  # BMPString
}
# BER permits times without minutes or seconds, with fractions, and in zones other than UTC.
_TIME = re.compile(rb"(\d{2}|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)?(\d\d)?(?:[.,]\d+)?(Z|[+-]\d{4})?")

#: What `cryptography` raises for malformed or unknown data.
MALFORMED: tuple[type[Exception], ...] = (
    *(ValueError, TypeError, IndexError, OverflowError, InvalidSignature, UnsupportedAlgorithm),
    *(x509.InvalidVersion, x509.DuplicateExtension, x509.ExtensionNotFound),
    x509.UnsupportedGeneralNameType,
)
#: The extensions 2.5.29.* that OpenSSL reads first (x509v3_cache_extensions): key identifiers,
#: usages, names, constraints, and distribution points.
_READ_FIRST = (14, 15, 17, 19, 30, 31, 35, 37)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
#: A field of DER: its tag and its content.
Field = tuple[int, bytes]


def readable(der: bytes) -> x509.Certificate:
    """A certificate; if `cryptography` can't read it, an equivalent one that it can.

    Raises ValueError if there is none.
    """
    with suppress(ValueError, x509.InvalidVersion):
        return _loaded(der)
    for rewrite_names in (False, True):  # issuers are compared by the bytes of their names
        with suppress(ValueError, IndexError, x509.InvalidVersion):
            return _loaded(_rewritten(der, names=rewrite_names))
    raise ValueError("the certificate can't be decoded")


def _loaded(der: bytes) -> x509.Certificate:
    """A certificate whose dates can be read. Raises ValueError or x509.InvalidVersion."""
    certificate = x509.load_der_x509_certificate(der)
    _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return certificate


def extensions(certificate: x509.Certificate) -> x509.Extensions:
    """The readable extensions: `cryptography` reads all of a certificate's or none."""
    with suppress(*MALFORMED):
        return certificate.extensions
    known: list[x509.Extension[x509.ExtensionType]] = []
    with suppress(ValueError, IndexError):
        _, *signature = fields(content(certificate.public_bytes(Encoding.DER)))
        parts = _parts(certificate)
        head = [each for each in parts if each[0] != _EXTENSIONS]
        for one in _extensions(parts):
            alone = _joined([*head, (_EXTENSIONS, field(_SEQUENCE, field(*one)))])
            der = field(_SEQUENCE, field(_SEQUENCE, alone) + _joined(signature))
            with suppress(*MALFORMED):
                known += x509.load_der_x509_certificate(der).extensions
    return x509.Extensions(known)


def extension_values(certificate: x509.Certificate, oid: bytes) -> list[bytes]:
    """The DER value of each extension of this kind; most certificates have at most one."""
    found = []
    with suppress(ValueError, IndexError):
        for _, extension in _extensions(_parts(certificate)):
            (_, name), *_, (_, octets) = fields(extension)
            if name == oid:
                found.append(octets)
    return found


def critical_extensions(inside: bytes) -> Iterator[bytes]:
    """The identifiers of those that are critical. Raises ValueError or IndexError."""
    for _, extension in fields(inside):
        (_, oid), *flags, _ = fields(extension)
        if any(any(flag) for _, flag in flags):
            yield oid


def has_malformed(certificate: x509.Certificate) -> bool:
    """Whether an extension is garbled that OpenSSL needs to find a certificate's issuer.

    What `cryptography` can't read may be fine for OpenSSL: encoded defaults, odd kinds of names.
    """
    return not all(
        _nests(value)
        for number in _READ_FIRST
        for value in extension_values(certificate, bytes([0x55, 0x1D, number]))
    )


def _nests(value: bytes) -> bool:
    """Whether a value is exactly one field of DER, and well-formed inside if its tag says so."""
    with suppress(ValueError, IndexError):
        ((tag, inside),) = fields(value)
        _ = list(fields(inside)) if tag & _CONSTRUCTED else []
        return True
    return False


def name_fields(certificate: x509.Certificate, *, subject: bool) -> bytes:
    """The content of the subject's or issuer's name in DER. Raises ValueError or IndexError."""
    return _part(certificate, 4 if subject else 2)


def key_fields(certificate: x509.Certificate) -> bytes:
    """The content of the subject's public key in DER. Raises ValueError or IndexError."""
    return _part(certificate, 5)


def _part(certificate: x509.Certificate, place: int) -> bytes:
    parts = _parts(certificate)
    return parts[(parts[0][0] == _VERSION) + place][1]


def is_named_like_issuer(certificate: x509.Certificate) -> bool:
    """Whether subject and issuer have the same name, byte by byte."""
    with suppress(ValueError, IndexError):
        return name_fields(certificate, subject=True) == name_fields(certificate, subject=False)
    return False


@lru_cache(maxsize=100)  # a scan needs several parts
def _parts(certificate: x509.Certificate) -> list[Field]:
    """The parts of a certificate. Raises ValueError or IndexError."""
    return list(fields(content(certificate.tbs_certificate_bytes)))


def comparable_name(inside: bytes) -> list[frozenset[tuple[bytes, str]]]:
    """A name so that it equals those that mean the same. Raises ValueError or IndexError.

    Case, spaces and the type of its strings don't matter (RFC 5280, section 7.1).
    """
    found = []
    for _, relative in fields(inside):
        attributes = set()
        for _, attribute in fields(relative):
            (_, oid), string = fields(attribute)
            attributes.add((oid, " ".join(text(*string).casefold().split())))
        found.append(frozenset(attributes))
    return found


def text(kind: int, value: bytes) -> str:
    """A string of a name; one that contradicts its declared type is read as Latin-1."""
    if kind & _CONSTRUCTED and kind not in {_SEQUENCE, _SET}:
        with suppress(ValueError, IndexError):  # in pieces (X.690, section 8.23.6)
            kind, value = kind ^ _CONSTRUCTED, b"".join(piece for _, piece in fields(value))
    try:
        return value.decode(_STRINGS.get(kind, "utf-8"))
    except UnicodeDecodeError:
        return value.decode("latin-1")


def content(der: bytes) -> bytes:
    """The content of the first field. Raises ValueError or IndexError."""
    return next(fields(der), (0, b""))[1]


def fields(der: bytes) -> Iterator[Field]:
    """The tag and content of each field in a sequence. Raises ValueError or IndexError."""
    at = 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(der[at : at + size], "big"), at + size
        if at + length > len(der):
            raise ValueError("truncated field")
        yield tag, der[at : at + length]
        at += length


def field(tag: int, inside: bytes) -> bytes:
    """Encode one field of DER."""
    length = len(inside)
    if length < 0x80:
        return bytes([tag, length]) + inside
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + inside


def _joined(parts: list[Field]) -> bytes:
    return b"".join(field(*each) for each in parts)


def _extensions(parts: list[Field]) -> Iterator[Field]:
    """The extensions among the parts of a certificate. Raises ValueError or IndexError."""
    for tag, value in parts:
        if tag == _EXTENSIONS:
            yield from fields(content(value))


def _rewritten(der: bytes, *, names: bool) -> bytes:
    """The same certificate in DER, version 3. Raises ValueError or IndexError."""
    (_, tbs), _, signature, *_ = fields(content(der))
    parts = list(fields(tbs))
    parts = parts[1:] if parts[0][0] == _VERSION else parts
    (_, serial), (_, signed), (_, issuer), (_, validity), (_, subject), key, *rest = parts
    parts = [
        (_VERSION, _V3),
        (_INTEGER, _number(serial)),
        (_SEQUENCE, _algorithm(signed)),
        (_SEQUENCE, _name(issuer) if names else issuer),
        (_SEQUENCE, b"".join(_time(*each) for each in fields(validity))),
        (_SEQUENCE, _name(subject) if names else subject),
        key,
    ]
    if known := b"".join(_extension(each) for _, each in _extensions(rest)):
        parts.append((_EXTENSIONS, field(_SEQUENCE, known)))
    whole = [(_SEQUENCE, _joined(parts)), (_SEQUENCE, _algorithm(signed)), signature]
    return field(_SEQUENCE, _joined(whole))


def _number(value: bytes) -> bytes:
    """An INTEGER in as few bytes as possible."""
    number = int.from_bytes(value, "big", signed=True)
    size = (~number if number < 0 else number).bit_length() // 8 + 1
    return number.to_bytes(size, "big", signed=True)


def _algorithm(inside: bytes) -> bytes:
    """An algorithm and its parameters, without anything after them; ECDSA has none (RFC 5758)."""
    (_, oid), *parameters = fields(inside)
    return _joined([(_OID, oid), *([] if oid.startswith(_ECDSA) else parameters[:1])])


def _name(inside: bytes) -> bytes:
    """A name with all its strings as UTF8String."""
    relatives = []
    for _, relative in fields(inside):
        attributes = []
        for _, attribute in fields(relative):
            oid, (kind, value) = fields(attribute)
            string = field(_UTF8, text(kind, value).encode())
            attributes.append((_SEQUENCE, field(*oid) + string))
        if attributes:
            relatives.append((_SET, _joined(attributes)))
    return _joined(relatives)


def _time(tag: int, value: bytes) -> bytes:
    """A time in UTC with seconds, or the nearest that Python knows. Raises ValueError."""
    found = _TIME.fullmatch(value)
    if found is None or len(found[1]) != (2 if tag == _UTC_TIME else 4):
        raise ValueError("not a time")
    year = int(found[1])
    if tag == _UTC_TIME:  # RFC 5280, section 4.1.2.5.1
        year += 2000 if year < 50 else 1900
    zone = found[7] or b"Z"
    sign = -1 if zone[:1] == b"-" else 1
    ahead = timedelta() if zone == b"Z" else timedelta(hours=int(zone[1:3]), minutes=int(zone[3:]))
    month, day, hour, minute, second = (int(found[n] or 0) for n in (2, 3, 4, 5, 6))
    since = timedelta(days=day - 1, hours=hour, minutes=minute, seconds=second)
    try:
        # An hour or day that doesn't exist runs over: 24:00 is the next day at 00:00.
        moment = datetime(year or 1, month, 1, tzinfo=UTC) + since - sign * ahead
    except OverflowError:
        moment = _FIRST if year < 2 else _LAST
    plain = moment.replace(tzinfo=None, microsecond=0).isoformat()
    return field(_GENERALIZED_TIME, re.sub("[-:T]", "", plain).encode() + b"Z")


def _extension(inside: bytes) -> bytes:
    """An extension, with a valid critical flag or none; empty if it can't be read."""
    with suppress(ValueError, IndexError):
        (_, oid), *between, (_, value) = fields(inside)
        critical = any(any(flag) for tag, flag in between if tag == _BOOLEAN)
        flag = field(_BOOLEAN, b"\xff") if critical else b""
        return field(_SEQUENCE, field(_OID, oid) + flag + field(_OCTETS, value))
    return b""
