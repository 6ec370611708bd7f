"""The bearer token on a request, renewed once when Microsoft says that it is stale."""

from typing import Protocol

import requests
from requests.auth import AuthBase


class TokenSource(Protocol):
    """Where tokens come from. Both methods may raise TokenError."""

    def access_token(self) -> str:
        """Return a token that should be good now."""
        ...

    def renew(self, stale: str) -> str:
        """Return a token newer than the stale one: another worker's, or one fetched now."""
        ...


class BearerAuth(AuthBase):
    """Attach the access token; renew it when told that it is stale.

    The client asks for the renewal, once per call, after a 401 or a fault whose code says so (109; 105 once) whatever
    its HTTP status, and sends the identical request again.
    """

    def __init__(self, tokens: TokenSource) -> None:
        self._tokens = tokens

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the current token on a request."""
        return _attach(request, self._tokens.access_token())

    def renew(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put a new token on a request that was answered as stale; nothing else of it changes."""
        return _attach(request, self._tokens.renew(attached_token(request)))


def attached_token(request: requests.PreparedRequest) -> str:
    """Return the token that a request carries."""
    return str(request.headers["Authorization"]).removeprefix("Bearer ")


def _attach(request: requests.PreparedRequest, token: str) -> requests.PreparedRequest:
    # requests would refuse such a header too, and print it in its complaint.
    if not is_header_safe(token):
        raise ValueError("The access token cannot travel in a header")
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def is_header_safe(secret: str) -> bool:
    """Say whether a secret is printable ASCII without spaces, as a header wants it."""
    return bool(secret) and all("!" <= character <= "~" for character in secret)
