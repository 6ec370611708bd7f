<?php
// Report orders, correct one, and ask what became of it. Needs PHP 7.4 or newer with its curl extension.
// CONVULTRA_URL=https://convultra.example CONVULTRA_SERVER_KEY=sk_… php orders.php
declare(strict_types=1);

const AGAIN = [0, 408, 429, 500, 502, 503, 504]; // 0: no answer came

/** Send a body, or ask, and again where that can help: the same ids make it count once. */
function call(string $path, ?array $body = null): array
{
    for ($attempt = 0; $attempt < 5; $attempt++) {
        $wait = 2 ** $attempt;
        $curl = curl_init(getenv('CONVULTRA_URL') . $path);
        curl_setopt_array($curl, [
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_TIMEOUT => 10,
            CURLOPT_HTTPHEADER => [
                'Authorization: Bearer ' . getenv('CONVULTRA_SERVER_KEY'),
                'Content-Type: application/json',
            ],
            CURLOPT_HEADERFUNCTION => function ($curl, string $line) use (&$wait): int {
                if (stripos($line, 'retry-after:') === 0) {
                    $wait = (int) substr($line, 12);
                }
                return strlen($line);
            },
        ]);
        if ($body !== null) {
            curl_setopt($curl, CURLOPT_POSTFIELDS, json_encode($body, JSON_THROW_ON_ERROR));
        }
        $text = curl_exec($curl);
        $status = $text === false ? 0 : curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
        if ($status >= 200 && $status < 300) {
            return json_decode($text, true, 512, JSON_THROW_ON_ERROR);
        }
        if (!in_array($status, AGAIN, true)) {
            throw new RuntimeException($text);
        }
        if ($wait > 60) {
            break; // the site's day is used up
        }
        sleep($wait);
    }
    throw new RuntimeException('Keep what you wanted to send, and send the same later.');
}

/** Print what became of each item of a batch. */
function show(array $answer): void
{
    foreach ($answer['results'] as $result) {
        echo $result['event_id'] ?? $result['adjustment_id'], ': ', $result['status'], "\n";
        foreach ($result['errors'] as $error) {
            echo '  ', $error['field'], ': ', $error['detail'], "\n";
        }
    }
}

// An event with its buyer: e-mail and phone are hashed on arrival and kept nowhere.
$paid = [
    'name' => 'purchase',
    'event_id' => 'order-1042-paid',
    'occurred_at' => '2026-11-21T10:00:00Z',
    'value' => '79.99',
    'currency' => 'EUR',
    'transaction_id' => '1042',
    'user_data' => ['email' => 'jane@example.com', 'phone' => '(425) 555-1234', 'country' => 'US'],
];
show(call('/v1/events', ['events' => [$paid]]));

// A batch. Good events are stored whatever becomes of the others: look at each result.
$order = ['name' => 'purchase', 'currency' => 'EUR'];
show(call('/v1/events', ['events' => [
    ['event_id' => 'order-1043-paid', 'value' => '12.00', 'transaction_id' => '1043'] + $order,
    ['event_id' => 'order-1044-paid', 'value' => '8.50', 'transaction_id' => '1044', 'currency' => 'eur'] + $order,
]]));

// Something of the order came back: say its new total, never the difference.
$returned = [
    'adjustment_id' => '1042-returned-one',
    'transaction_id' => '1042',
    'type' => 'restate',
    'value' => '59.99',
    'currency' => 'EUR',
    'occurred_at' => '2026-11-21T12:00:00Z',
];
show(call('/v1/adjustments', ['adjustments' => [$returned]]));

// What became of it, per account.
$event = call('/v1/events/order-1042-paid');
echo $event['planned'] ? $event['event_id'] . ': ' . count($event['deliveries']) . ' deliveries' : 'not planned yet', "\n";
foreach ($event['deliveries'] as $delivery) {
    echo '  ', $delivery['account_id'], ': ', $delivery['status'], "\n";
}
