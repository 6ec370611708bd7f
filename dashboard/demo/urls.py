"""The demo's own page, under `/demo/`."""

from django.urls import path

from dashboard.demo.shop import shop

urlpatterns = [path("shop/", shop, name="demo-shop")]
