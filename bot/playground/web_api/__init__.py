"""What the app calls: the Web API's methods and response URLs."""
