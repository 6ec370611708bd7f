#!/bin/sh
# Report orders, correct one, and ask what became of it. Needs curl 7.76 or newer.
# CONVULTRA_URL=https://convultra.example CONVULTRA_SERVER_KEY=sk_… sh orders.sh
set -eu

# Sends again what may be sent again (408, 429, 500, 502, 503, 504, no connection), as late as Retry-After says, for five
# minutes at most. The same ids make it count once. Fails with the problem that was answered.
call() {
    path=$1
    shift
    curl --silent --show-error --fail-with-body --max-time 10 \
        --retry 5 --retry-connrefused --retry-max-time 300 \
        --header "Authorization: Bearer $CONVULTRA_SERVER_KEY" --header "Content-Type: application/json" \
        "$@" "$CONVULTRA_URL$path"
    echo
}

# An event with its buyer: e-mail and phone are hashed on arrival and kept nowhere.
call /v1/events --data '{"events": [{
    "name": "purchase", "event_id": "order-1042-paid", "occurred_at": "2026-11-21T10:00:00Z",
    "value": "79.99", "currency": "EUR", "transaction_id": "1042",
    "user_data": {"email": "jane@example.com", "phone": "(425) 555-1234", "country": "US"}}]}'

# A batch. Good events are stored whatever becomes of the others: look at each result.
call /v1/events --data '{"events": [
    {"name": "purchase", "event_id": "order-1043-paid", "value": "12.00", "currency": "EUR", "transaction_id": "1043"},
    {"name": "purchase", "event_id": "order-1044-paid", "value": "8.50", "currency": "eur", "transaction_id": "1044"}]}'

# Something of the order came back: say its new total, never the difference.
call /v1/adjustments --data '{"adjustments": [{
    "adjustment_id": "1042-returned-one", "transaction_id": "1042", "type": "restate", "value": "59.99",
    "currency": "EUR", "occurred_at": "2026-11-21T12:00:00Z"}]}'

# What became of it, per account.
call /v1/events/order-1042-paid
