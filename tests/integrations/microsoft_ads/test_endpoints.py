"""Tokens travel to Microsoft over https, and to this computer's own loopback."""

from django.test import SimpleTestCase

from integrations.microsoft_ads.endpoints import ENDPOINTS, PRODUCTION, SANDBOX, SCOPES, Endpoints, is_loopback


class EndpointTests(SimpleTestCase):
    def test_production_and_sandbox_differ_in_host_and_scope(self) -> None:
        self.assertEqual(PRODUCTION.campaign, "https://campaign.api.bingads.microsoft.com")
        self.assertEqual(SANDBOX.customer, "https://clientcenter.api.sandbox.bingads.microsoft.com")
        self.assertEqual(ENDPOINTS.keys(), SCOPES.keys())
        self.assertEqual(SCOPES["sandbox"], "https://si.ads.microsoft.com/msads.manage offline_access")

    def test_plain_http_is_taken_on_loopback(self) -> None:
        for base in ("http://127.0.0.1:8099", "http://localhost:8099", "http://[::1]:8099", "http://127.1.2.3/ads"):
            self.assertEqual(Endpoints(base, base, base).login, base)

    def test_plain_http_is_refused_elsewhere(self) -> None:
        for base in ("http://login.microsoftonline.com", "http://10.0.0.1", "http://127.0.0.1.example.com"):
            with self.assertRaisesMessage(ValueError, "must be https"):
                Endpoints(base, base, base)

    def test_what_is_no_base_address_is_refused(self) -> None:
        for base in ("", "microsoft.com", "ftp://a.example", "https://", "https://user:pw@a.example"):
            with self.assertRaisesMessage(ValueError, "must look like"):
                Endpoints(base, base, base)
        for base in ("https://a.example/", "https://a.example?x=1", "https://a.example#x"):
            with self.assertRaisesMessage(ValueError, "must end without"):
                Endpoints(base, base, base)

    def test_a_host_named_like_a_loopback_is_none(self) -> None:
        self.assertFalse(is_loopback("http://localhost.example.com"))
