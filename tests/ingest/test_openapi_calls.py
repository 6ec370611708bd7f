"""A running server keeps to its OpenAPI document, whatever schemathesis makes of it to send."""

import json
from collections.abc import Callable
from typing import Any, TypeAlias

import requests
import schemathesis
from django.test import TransactionTestCase
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.core.transport import Response
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi import checks

from ingest.models import Adjustment, Click, Event, ServerKey, Site
from tests.cast import make_site, make_user
from tests.ingest.calls import ORIGIN
from tests.ingest.openapi_document import ONLY_IN_WORDS, closed
from tests.road.test_crashes import web

Operation: TypeAlias = APIOperation[Any, Any, Any, Any]
NOBODY = "http://127.0.0.1:9"  # discard: the server must not reach Microsoft
# Of each operation, in each mode. The same at every run, and not made smaller when one fails, which takes minutes.
SETTINGS = settings(
    max_examples=10,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
CHECKS: list[Any] = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


class CallsOfTheDocumentTests(TransactionTestCase):
    site: Site

    def setUp(self) -> None:
        self.site = make_site("Harbor & Pine", make_user("alice"))
        _, self.secret = ServerKey.objects.mint(self.site)
        _, self.address = self.enterContext(web(NOBODY, KEY_REQUESTS_PER_SECOND="0"))
        self.session = self.enterContext(requests.Session())
        self.document = schemathesis.openapi.from_dict(closed())

    def test_requests_of_the_documents_shapes_are_taken(self) -> None:
        for operation in self.operations():
            with self.subTest(operation.label):
                self.call(
                    operation, GenerationMode.POSITIVE, st.just(self.right(operation)), self.is_refused_for_words_only
                )
        self.assertTrue(Event.objects.exists() and Click.objects.exists() and Adjustment.objects.exists())

    def test_requests_of_other_shapes_are_told_so(self) -> None:
        for operation in self.operations():
            with self.subTest(operation.label):
                right = self.right(operation)
                if not right:  # the document itself takes nothing that could be wrong
                    continue
                # Now and then with keys of nobody, or none at all.
                self.call(operation, GenerationMode.NEGATIVE, st.sampled_from([right, right, right, {}]))

    def operations(self) -> list[Operation]:
        """Return every operation of the document."""
        return [result.ok() for result in self.document.get_all_operations() if isinstance(result, Ok)]

    def right(self, operation: Operation) -> dict[str, Any]:
        """Return what opens the door to an operation: the keys of Alice's site, and its origin."""
        if "{write_key}" in operation.path:
            return {"path_parameters": {"write_key": self.site.write_key}, "headers": {"Origin": ORIGIN}}
        return {"headers": {"Authorization": f"Bearer {self.secret}"}} if operation.path != "/v1/openapi.json" else {}

    def call(
        self,
        operation: Operation,
        mode: GenerationMode,
        rights: st.SearchStrategy[dict[str, Any]],
        check: Callable[[Response], None] = lambda _: None,
    ) -> None:
        """Send requests of a kind to an operation, and hold each answer against the document."""

        @given(operation.as_strategy(mode), rights)
        @SETTINGS
        def run(case: Case[Any], right: dict[str, Any]) -> None:
            for name, value in right.get("path_parameters", {}).items():
                case.path_parameters[name] = value
            response = case.call(base_url=self.address, session=self.session, headers=right.get("headers"))
            case.validate_response(response, checks=CHECKS)
            if case.media_type != "text/plain":  # any text is of that shape
                check(response)

        run()

    def is_refused_for_words_only(self, response: Response) -> None:
        """Check that of what the schema allows nothing is refused but for a rule that it cannot say."""
        said = json.loads(response.content or b"{}")
        errors = [*said.get("errors", []), *(error for each in said.get("results", []) for error in each["errors"])]
        codes = {error["code"] for error in errors} - {"email_malformed", "phone_malformed", "conflict"}
        self.assertLessEqual(codes, ONLY_IN_WORDS | {"already_retracted", "currency_differs"}, errors)
        self.assertIn(response.status_code, (200, 202, 204, 404, 409, 422), response.content)
