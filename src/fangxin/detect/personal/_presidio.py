from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import Any

from fangxin.detect._verdict import DetectorError
from fangxin.detect.personal._finding import Finding

_KIND_OF = MappingProxyType(
    {
        "CREDIT_CARD": "bank_card",
        "EMAIL_ADDRESS": "email",
        "IBAN_CODE": "iban",
        "IP_ADDRESS": "ip_address",
        "LOCATION": "address",
        "MAC_ADDRESS": "mac_address",
        "PERSON": "name",
        "PHONE_NUMBER": "phone",
        "UK_NINO": "uk_nino",
        "UK_PASSPORT": "passport",
        "US_BANK_NUMBER": "bank_account",
        "US_DRIVER_LICENSE": "driver_licence",
        "US_ITIN": "us_itin",
        "US_PASSPORT": "passport",
        "US_SSN": "us_ssn",
    }
)


@dataclass(frozen=True)
class PresidioFinder:
    """Findings of Microsoft Presidio: above all names and places, which rules can't tell (extra `presidio`).

    Attributes:
        analyzer: Presidio's `AnalyzerEngine`.
        entities: which of its entities to ask for.
        language: its language code.
    """

    analyzer: Any = field(repr=False)
    entities: tuple[str, ...] = ("PERSON", "LOCATION")
    language: str = "en"

    @classmethod
    def load(
        cls,
        model: str = "en_core_web_sm",
        *,
        language: str = "en",
        entities: Sequence[str] = ("PERSON", "LOCATION"),
    ) -> PresidioFinder:
        """Start Presidio on an installed spaCy model. Nothing is downloaded.

        Args:
            model: the name of the model's package, such as `en_core_web_sm` or `zh_core_web_sm`.
            language: the language that the model reads.
            entities: which of Presidio's entities to ask for; others than those known here are left out.

        Raises:
            DetectorError: Presidio or the model is not installed.
        """
        try:
            spacy_model = import_module(model).load()
            engine = import_module("presidio_analyzer")
            nlp = import_module("presidio_analyzer.nlp_engine")
        except ImportError as error:
            raise DetectorError(
                f"Presidio can't start ({error}): pip install 'fangxin[presidio]', and the spaCy model"
                f" {model}."
            ) from None
        loaded = nlp.SpacyNlpEngine(models=[{"lang_code": language, "model_name": model}])
        loaded.nlp = {language: spacy_model}
        analyzer = engine.AnalyzerEngine(nlp_engine=loaded, supported_languages=[language])
        return cls(analyzer, tuple(one for one in entities if one in _KIND_OF), language)

    def find(self, text: str) -> list[Finding]:
        """Presidio's findings, with its scores as confidence.

        Raises:
            DetectorError: Presidio failed on the text.
        """
        try:
            results = self.analyzer.analyze(text=text, language=self.language, entities=list(self.entities))
        except Exception as error:
            raise DetectorError(f"Presidio could not judge: {type(error).__name__}.") from None
        return [Finding(_KIND_OF[one.entity_type], one.start, one.end, one.score) for one in results]
