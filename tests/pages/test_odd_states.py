"""The states that only pictures show are what their names say: a picture of a wrong page would go unnoticed."""

import pytest
from django.test import Client

from tests.pages.odd_states import odd_states
from tests.pages.serving import serve

STATUSES = {"403": 403, "500": 500, "invitation-ended": 404}


@pytest.mark.django_db(transaction=True)
def test_each_state_is_the_page_that_it_is_called_after() -> None:
    with serve(is_hostile=False) as served, odd_states(served) as states:
        wrong = {
            state.name: said for state in states if (said := _said(state.client, state.path))[0] != _status(state.name)
        }
        unsaid = [state.name for state in states if state.says not in _said(state.client, state.path)[1]]
    assert (wrong, unsaid) == ({}, [])


def _said(client: Client, path: str) -> tuple[int, str]:
    answer = client.get(path, follow=True)
    return answer.status_code, answer.content.decode()


def _status(name: str) -> int:
    return STATUSES.get(name, 200)
