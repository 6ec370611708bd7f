"""The currencies in which Microsoft takes a conversion's value."""

# guides/currencies, "Conversion Goal Revenue Currencies". That list writes the Turkish lira TRL, the account's
# CurrencyCode writes TRY: both are taken, and Microsoft judges.
CURRENCIES = frozenset(
    """
    AED ALL AMD ARS AUD AZN BDT BGN BHD BND BOB BRL BWP BZD CAD CHF CLP CNY COP CRC CZK DKK DOP DZD EGP ETB EUR FJD
    GBP GEL GHS GTQ HKD HNL HRK HUF IDR ILS INR IQD ISK JMD JOD JPY KES KGS KRW KWD KZT LBP LKR LYD MAD MKD MNT MOP
    MUR MVR MWK MXN MYR NGN NIO NOK NZD OMR PAB PEN PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SEK SGD THB TND TOP TRL
    TRY TTD TWD TZS UAH UGX USD UYU UZS VEF VND XAF XCD XOF YER ZAR ZMW
    """.split()  # noqa: SIM905  # a hundred quoted words read worse
)
