-- What wrk sends, as a proxy passes it on: purchases of a page, each with ids of its own, from 4,096 visitors' addresses.
-- Arguments: a prefix for the ids, and how many events are in a request.
-- tests/bench/load.py calls it and reads the line that `done` prints.

local EVENT = [[{"name":"purchase","event_id":"%s","occurred_at":"%s","value":"79.90","currency":"EUR",]]
    .. [["transaction_id":"%s","visitor_id":"%s","session_id":"%s","msclkid":"%s",]]
    .. [["consent":{"ad_storage":"granted"},"user_data":{"email_sha256":"%s","phone_sha256":"%s"},]]
    .. [["properties":{"items":2,"category":"lamps","coupon":"WELCOME10","shipping":"express","new_customer":true}}]]
local HEX32 = "f894f652ea334e739002f7167ab8f8e3"
local HEX56 = "4e739002f7167ab8f8e3f894f652ea339d1c5b2e7f60a84b1c3d5e6f"
local VISITOR = "c0ffee7ab8f8e3"

local prefix, events, count, at

function init(arguments)
    prefix, events, count = arguments[1], tonumber(arguments[2]), 0
    at = os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() - 60)
    math.randomseed(os.time())
end

local function event()
    count = count + 1
    local id = string.format("%s-%08x-4c5d-9e6f-0a1b2c3d4e5f", prefix, count)
    -- People and clicks come in no order, and so they lie in the indexes.
    local one = string.format("%08x", math.random(0, 0x7fffffff))
    local other = string.format("%08x", math.random(0, 0x7fffffff))
    return string.format(EVENT, id, at, "HP-" .. prefix .. count, one .. VISITOR, other .. VISITOR,
        one .. HEX32:sub(9), one .. HEX56, other .. HEX56)
end

function request()
    local items = {}
    for number = 1, events do items[number] = event() end
    local body = '{"events":[' .. table.concat(items, ",") .. "]}"
    local headers = {
        "POST " .. wrk.path .. " HTTP/1.1", "Host: " .. wrk.host, "Origin: https://shop.example",
        "X-Forwarded-For: 80.10." .. math.random(0, 15) .. "." .. math.random(0, 255), "X-Forwarded-Proto: https",
        "Content-Type: application/json", "Content-Length: " .. #body,
    }
    return table.concat(headers, "\r\n") .. "\r\n\r\n" .. body
end

function done(summary, latency)
    local errors = summary.errors
    print(string.format(
        '{"microseconds":%d,"requests":%d,"refused":%d,"broken":%d,"p50":%d,"p99":%d}', summary.duration,
        summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout,
        latency:percentile(50), latency:percentile(99)))
end
