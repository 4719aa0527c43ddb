"""Is this peer who the application meant?  Chain verification is OpenSSL's; strategies beside it come here."""
