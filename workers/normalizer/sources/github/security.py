"""Security advisories and alerts."""

from dataclasses import replace

from workers.normalizer.sources.draft import THIS, Draft, Drafts, NotADocument
from workers.normalizer.sources.github.conversations import followed, parents_of, place, present, revised
from workers.normalizer.sources.github.parts import latest
from workers.normalizer.sources.github.payload import Advisory, Alert, Payload
from workers.normalizer.sources.github.statements import Statements


def advisory(payload: Payload) -> Drafts:
    """Map events `security_advisory` and `repository_advisory`. A withdrawn advisory is a deletion: it says so itself
    that it does not hold, and an answer must not rest on it.
    """
    subject = present(payload.security_advisory or payload.repository_advisory, "security_advisory")
    revision = revised(subject.updated_at, subject.published_at)
    external_id = f"advisory:{subject.ghsa_id}"
    if payload.action == "withdrawn" or subject.withdrawn_at is not None:
        gone = Draft(external_id, "security_advisory", revision=revision, deleted=True, final=False)
        return (replace(gone, parents=parents_of(payload)),)
    stated = Statements(payload)
    key = _advisory(stated, subject)
    stated.state(THIS, "DESCRIBES", key)
    return (
        Draft(
            external_id,
            "security_advisory",
            title=subject.summary,
            text=subject.description if subject.description.strip() else subject.summary,
            created_at=subject.published_at,
            updated_at=latest(subject.updated_at, subject.published_at),
            url=subject.html_url,
            links=tuple(reference.url for reference in subject.references),
            metadata={
                "ghsa": subject.ghsa_id,
                "cve": subject.cve_id or "",
                "severity": subject.severity,
                "packages": tuple(dict.fromkeys(each.package.name for each in subject.vulnerabilities)),
            },
            entities=stated.entities,
            relations=stated.relations,
            revision=revision,
            parents=parents_of(payload),
        ),
    )


def _advisory(stated: Statements, subject: Advisory) -> str:
    aliases = (subject.cve_id,) if subject.cve_id else ()
    key = stated.entity("advisory", f"github:{subject.ghsa_id}", subject.ghsa_id, aliases)
    for affected in subject.vulnerabilities:
        package = affected.package
        name = f"{package.ecosystem}:{package.name}" if package.ecosystem else package.name
        stated.state(key, "AFFECTS", stated.entity("package", name, package.name))
    return key


def alert(payload: Payload) -> Drafts:
    """Map the alert events: a document where the alert explains itself (an advisory's or a rule's description)."""
    subject = present(payload.alert, "alert")
    told = subject.security_advisory
    title = told.summary if told else (subject.rule.description or subject.rule.name) if subject.rule else ""
    text = told.description if told else _rule_text(subject)
    if not (text or title).strip():
        return NotADocument("an alert without an explanation")
    stated = Statements(payload)
    stated.part_of_repository()
    if told:
        stated.state(THIS, "ABOUT", _advisory(stated, told))
    repository = payload.repository
    source = "dependabot" if told else "code_scanning"
    updated_at = latest(subject.updated_at, subject.fixed_at, subject.dismissed_at, subject.created_at)
    return (
        Draft(
            f"{source}_alert:{repository.id if repository else 0}:{subject.number}",
            f"{source}_alert",
            title=title,
            text=text if text.strip() else title,
            created_at=subject.created_at,
            updated_at=updated_at,
            url=subject.html_url,
            links=tuple(reference.url for reference in told.references) if told else (),
            metadata=place(payload) | {"number": subject.number, "state": subject.state},
            entities=stated.entities,
            relations=stated.relations,
            # One that is reopened has lost the date of its dismissal; where nothing else dates it, it is the newest.
            revision=revised(updated_at) if subject.updated_at else followed(updated_at),
            parents=parents_of(payload),
        ),
    )


def _rule_text(subject: Alert) -> str:
    rule = subject.rule
    return (rule.help or rule.full_description or rule.description) if rule else ""
