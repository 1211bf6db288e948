"""What the Marketo of the end-to-end tests has beside people: objects, programs, lists, partitions, fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HOLDINGS: Mapping[str, Any] = {
    "lead_fields": [
        {"name": "customerId", "display_name": "Customer Id", "length": 100},
        {"name": "memberNo", "display_name": "Member No", "data_type": "integer"},
    ],
    "member_fields": [
        {"name": "registrationCode", "display_name": "Registration Code", "length": 100},
        {"name": "seats", "display_name": "Seats", "data_type": "integer"},
    ],
    "custom_objects": [
        {
            "name": "car_c",
            "display_name": "Car",
            "dedupe_fields": ["vin"],
            "link": {"field": "ownerEmail", "lead_field": "email"},
            "fields": [
                {"name": "vin", "display_name": "VIN", "updateable": False},  # it must be sent all the same
                {"name": "color", "display_name": "Color"},
                {"name": "make", "display_name": "Make"},
                {"name": "model", "display_name": "Model"},
                {"name": "year", "display_name": "Year Built", "data_type": "integer"},
                {"name": "ownerEmail", "display_name": "Owner Email", "data_type": "email"},
            ],
        },
        {
            "name": "orderLine_c",
            "display_name": "Order Line",
            "dedupe_fields": ["orderId", "sku"],
            "fields": [
                {"name": "orderId", "display_name": "Order Id", "data_type": "integer"},
                {"name": "sku", "display_name": "SKU", "length": 60},
                {"name": "quantity", "display_name": "Quantity", "data_type": "integer"},
                {"name": "contact", "display_name": "Contact", "data_type": "email"},
                {"name": "note", "display_name": "Note", "data_type": "text"},
            ],
        },
        {
            "name": "airport_c",
            "display_name": "Airport",
            "dedupe_fields": ["icao"],
            "fields": [
                {"name": "icao", "display_name": "ICAO Code", "length": 4},
                {"name": "iata", "display_name": "IATA Code", "length": 3},
                {"name": "name", "display_name": "Name"},
                {"name": "city", "display_name": "City"},
                {"name": "subd", "display_name": "Subdivision"},
                {"name": "country", "display_name": "Country", "length": 2},
                {"name": "elevation", "display_name": "Elevation", "data_type": "float"},
                {"name": "lat", "display_name": "Latitude", "data_type": "float"},
                {"name": "lon", "display_name": "Longitude", "data_type": "float"},
                {"name": "tz", "display_name": "Time Zone"},
                {"name": "lid", "display_name": "Local Code"},
            ],
        },
    ],
    "channels": [{"id": 1, "name": "Webinar", "statuses": ["Invited", "Registered", "Attended"]}],
    "programs": [{"id": number, "name": f"Webinar {number}", "channel": "Webinar"} for number in range(2001, 2031)],
    "lists": [{"id": number, "name": f"List {number}"} for number in range(1001, 1011)],
    "partitions": ["Default", "Europe"],
}
