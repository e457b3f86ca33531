"""What the app calls: the Web API's methods, response URLs and file uploads."""
