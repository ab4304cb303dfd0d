"""Why a model says what it says: attention, the importance of tokens, and whether that importance is true."""
