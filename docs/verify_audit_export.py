#!/usr/bin/env python3
"""Verify an export of the audit log (manage.py export_audit) without its database: Python 3.9 or newer, nothing else.

    python3 verify_audit_export.py FILE [--head HASH]

Each line is {"hash": "...", "seal" | "row" | "removed" | "detail": {...}}. The hash of a seal or a row is SHA-256 of
the very bytes after its name. A seal holds the hash of the seal before (`previous`), how many rows follow, and SHA-256
of their hashes one after the other (`content`). A row's `detail_hash` is SHA-256 of the detail's salt and of the JSON
of [ip, user agent, personal]; a detail that is not there was erased, or was not exported.

--head is the hash of a seal known from elsewhere (the log, or the names under audit/heads/ in the storage): if no seal
of the file has it, the file's tail was cut off, or its history is another. Exits 1 and names what is wrong.
"""

import argparse
import hashlib
import ipaddress
import json
import re
import sys

LINE = re.compile(rb'\{"hash": "([0-9a-f]{64})", "(seal|row|removed|detail)": (\{.*\})\}\n?', re.DOTALL)


class Verifier:
    def __init__(self):
        self.problems = 0
        self.number = 0  # of the last seal
        self.previous = "0" * 64  # its hash
        self.seal = None
        self.hashes = set()
        self.purged_through = 0
        self.without_rows = {}  # seal: how many rows it should have
        self.counts = {"seals": 0, "rows": 0, "unsealed": 0, "details": 0, "purged": 0}
        self.row = None
        self.begin(None)

    def begin(self, seal):
        self.seal, self.leaves, self.seen, self.extra = seal, hashlib.sha256(), 0, []

    def say(self, text):
        self.problems += 1
        if self.problems <= 1000:
            sys.stdout.write(f"{text}\n")

    def take(self, place, line):
        match = LINE.fullmatch(line)
        if match is None:
            self.say(f"line {place}: is not a line of an export")
            return
        hash, kind, text = match[1].decode(), match[2].decode(), match[3]
        try:
            told = json.loads(text)
            getattr(self, "take_" + kind)(hash, text, told)
        except (ValueError, KeyError, TypeError, AttributeError):
            self.say(f"line {place}: is not a line of an export")

    def take_seal(self, hash, text, told):
        self.end_seal(is_last=False)
        number = told["seal"]
        if hashlib.sha256(text).hexdigest() != hash:
            self.say(f"seal {number}: was changed")
        if number != self.number + 1:
            self.say(f"seal {number}: the seals between {self.number} and it were removed")
        elif told["previous"] != self.previous:
            self.say(f"seal {number}: does not follow the seal before it")
        self.number, self.previous = number, hash
        self.hashes.add(hash)
        self.counts["seals"] += 1
        self.row = None
        self.begin(told)

    def end_seal(self, is_last):
        seal = self.seal
        if seal is None:
            if self.extra and not is_last:
                self.say(f"rows {self.extra[:10]}: stand before the first seal")
            return
        if self.seen == 0 and seal["rows"] > 0:
            self.without_rows[seal["seal"]] = seal["rows"]
        elif self.seen < seal["rows"]:
            self.say(f"seal {seal['seal']}: {seal['rows'] - self.seen} of its {seal['rows']} rows were removed")
        elif self.leaves.hexdigest() != seal["content"]:
            self.say(f"seal {seal['seal']}: its rows are not the ones that were sealed, or not in their order")
        if self.extra and not is_last:
            self.say(f"seal {seal['seal']}: rows were inserted, the last is {self.extra[-1]}")

    def take_leaf(self, hash, row_id):
        if self.seal is not None and self.seen < self.seal["rows"]:
            self.leaves.update(bytes.fromhex(hash))
            self.seen += 1
            self.counts["rows"] += 1
        else:
            self.counts["unsealed"] += 1
            self.extra = [*self.extra[-9:], row_id]

    def take_row(self, hash, text, told):
        if hashlib.sha256(text).hexdigest() != hash:
            self.say(f"row {told['id']}: was changed")
        if told["action"] == "seal.purged" and told["entity_type"] == "seal":
            self.purged_through = max(self.purged_through, int(told["entity_id"]))
        self.row = told
        self.take_leaf(hash, told["id"])

    def take_removed(self, hash, text, told):
        self.say(f"row {told['id']}: was removed")
        self.row = None
        self.take_leaf(hash, told["id"])

    def take_detail(self, hash, text, told):
        self.counts["details"] += 1
        if self.row is None or self.row["id"] != told["row"]:
            self.say(f"row {told['row']}: its personal part stands elsewhere")
            return
        ip = told["ip"]
        if ip is not None:
            address = ipaddress.ip_address(ip)
            ip = str(getattr(address, "ipv4_mapped", None) or address)
        parts = [ip, told["user_agent"], told["personal"]]
        written = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        if hashlib.sha256(bytes.fromhex(told["salt"]) + written.encode()).hexdigest() != self.row["detail_hash"]:
            self.say(f"row {told['row']}: its personal part was changed")

    def end(self, head):
        self.end_seal(is_last=True)
        for number, rows in self.without_rows.items():
            if number <= self.purged_through:
                self.counts["purged"] += rows
            else:
                self.say(f"seal {number}: its {rows} rows were removed, and no purge is on record")
        if head and head not in self.hashes:
            self.say(f"head {head}: no seal of the file has it; the tail was cut off, or this is another history")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--head", default="", help="the hash of a seal known from elsewhere")
    given = parser.parse_args()
    verifier = Verifier()
    with open(given.file, "rb") as file:
        for place, line in enumerate(file, 1):
            verifier.take(place, line)
    verifier.end(given.head.rpartition("-")[2].lower())
    told = ", ".join(f"{count} {name}" for name, count in verifier.counts.items())
    verdict = f"{verifier.problems} problems" if verifier.problems else "The file is as it was sealed"
    sys.stdout.write(f"{verdict}: {told}.\nLast seal: {verifier.number:012d}-{verifier.previous}\n")
    return 1 if verifier.problems else 0


if __name__ == "__main__":
    sys.exit(main())
