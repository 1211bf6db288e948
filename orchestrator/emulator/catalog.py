"""The fields that every subscription has, and the lookup of fields by name."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.emulator.config import DataType, EmulatorConfig, FieldSpec, ObjectSpec


def _field(
    name: str, label: str, data_type: DataType = "string", length: int | None = 255, updateable: bool = True
) -> FieldSpec:
    return FieldSpec(name=name, display_name=label, data_type=data_type, length=length, updateable=updateable)


STANDARD_LEAD_FIELDS: tuple[FieldSpec, ...] = (
    _field("id", "Id", "integer", None, updateable=False),
    _field("email", "Email Address", "email"),
    _field("firstName", "First Name"),
    _field("middleName", "Middle Name"),
    _field("lastName", "Last Name"),
    _field("salutation", "Salutation"),
    _field("company", "Company Name"),
    _field("title", "Job Title"),
    _field("department", "Department"),
    _field("industry", "Industry"),
    _field("phone", "Phone Number", "phone"),
    _field("mobilePhone", "Mobile Phone Number", "phone"),
    _field("website", "Website", "url"),
    _field("address", "Address", "text", None),
    _field("city", "City"),
    _field("state", "State"),
    _field("postalCode", "Postal Code"),
    _field("country", "Country"),
    _field("dateOfBirth", "Date of Birth", "date", None),
    _field("leadScore", "Lead Score", "score", None),
    _field("leadSource", "Lead Source"),
    _field("leadStatus", "Lead Status"),
    _field("rating", "Lead Rating"),
    _field("unsubscribed", "Unsubscribed", "boolean", None),
    _field("doNotCall", "Do Not Call", "boolean", None),
    _field("annualRevenue", "Annual Revenue", "currency", None),
    _field("numberOfEmployees", "Num Employees", "integer", None),
    _field("externalCompanyId", "External Company Id", "string", 100),
    _field("externalSalesPersonId", "External Sales Person Id", "string", 100),
    _field("originalReferrer", "Original Referrer", "url", 2000, updateable=False),
    _field("twitterId", "Twitter ID"),
    _field("facebookId", "Facebook ID"),
    _field("linkedInId", "LinkedIn ID"),
    _field("cookies", "Cookies"),
    _field("sfdcAccountId", "SFDC Account Id", "string", 50),
    _field("sfdcContactId", "SFDC Contact Id", "string", 50),
    _field("sfdcLeadId", "SFDC Lead Id", "string", 50),
    _field("sfdcLeadOwnerId", "SFDC Lead Owner Id", "string", 50),
    _field("sfdcOpptyId", "SFDC Opportunity Id", "string", 50),
    _field("createdAt", "Created At", "datetime", None, updateable=False),
    _field("updatedAt", "Updated At", "datetime", None, updateable=False),
)

# Every other string, e-mail or integer field is no standard field and may be a lookup field, too.
STANDARD_LOOKUP_FIELDS = (
    "id", "cookies", "email", "twitterId", "facebookId", "linkedInId", "sfdcAccountId", "sfdcContactId", "sfdcLeadId",
    "sfdcLeadOwnerId", "sfdcOpptyId",
)  # fmt: skip
_CUSTOM_LOOKUP_TYPES = ("string", "email", "integer")

_OBJECT_SYSTEM_FIELDS = (
    _field("marketoGUID", "Marketo GUID", "string", 36, updateable=False),
    _field("createdAt", "Created At", "datetime", None, updateable=False),
    _field("updatedAt", "Updated At", "datetime", None, updateable=False),
)

MEMBER_SYSTEM_FIELDS = (
    _field("leadId", "leadId", "integer", None, updateable=False),
    _field("programId", "programId", "integer", None, updateable=False),
    _field("statusName", "statusName", updateable=False),
    _field("createdAt", "createdAt", "datetime", None, updateable=False),
    _field("updatedAt", "updatedAt", "datetime", None, updateable=False),
)


class Fields:
    """The fields of one object type, found by name."""

    def __init__(self, fields: Iterable[FieldSpec], *, case_matters: bool = True) -> None:
        self.all = tuple(fields)
        self._case_matters = case_matters
        self._by_name = {self._fold(field.name): field for field in self.all}

    def _fold(self, name: str) -> str:
        return name if self._case_matters else name.lower()

    def get(self, name: str) -> FieldSpec | None:
        """Return the field that a header cell means, or None."""
        return self._by_name.get(self._fold(name))


def lead_fields(config: EmulatorConfig) -> Fields:
    """Return the fields of people."""
    return Fields((*STANDARD_LEAD_FIELDS, *config.lead_fields), case_matters=config.header_case_matters)


def object_fields(config: EmulatorConfig, spec: ObjectSpec) -> Fields:
    """Return the fields of one custom object type."""
    return Fields((*spec.fields, *_OBJECT_SYSTEM_FIELDS), case_matters=config.header_case_matters)


def member_fields(config: EmulatorConfig) -> Fields:
    """Return the fields of memberships themselves, those of their people apart."""
    return Fields((*MEMBER_SYSTEM_FIELDS, *config.member_fields), case_matters=config.header_case_matters)


def is_lookup_field(config: EmulatorConfig, field: FieldSpec) -> bool:
    """Tell whether people may be found by this field in an import."""
    custom = any(field.name == own.name for own in config.lead_fields)
    return field.name in STANDARD_LOOKUP_FIELDS or (custom and field.data_type in _CUSTOM_LOOKUP_TYPES)
