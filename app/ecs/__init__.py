"""ECSs: elastic cloud servers, with their flavors and key pairs."""
