"""All collections of a root folder: makes, finds, renames and removes them."""

import logging
import os
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from infra.qdrant.door import catalogue as catalogues
from infra.qdrant.door.catalogue import Catalogue, Entry
from infra.qdrant.door.collection import Collection
from infra.qdrant.door.faults import BadRequest, Conflict, NotFound
from infra.qdrant.door.reading import Fields, items, text
from infra.qdrant.door.schema import Schema, read_schema

_log = logging.getLogger(__name__)

_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
_MAX_NAME = 255


class Store:
    """Owner of a root folder. Open it with `Store.open`; one process at a time."""

    def __init__(self, root: Path, lock: int, catalogue: Catalogue) -> None:
        self._root = root
        self._lock = lock
        self.catalogue = catalogue
        self._open: dict[str, Collection] = {}
        self.last_use = time.monotonic()

    @classmethod
    def open(cls, root: Path) -> "Store":
        """Lock a root folder and load all its collections. Raises Occupied, Unreadable, Fault, OSError."""
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = cls(root, catalogues.lock(root), catalogues.read(root))
        store._sweep()
        for name, entry in store.catalogue.collections.items():
            started = time.perf_counter()
            store._open[name] = Collection.load(store._folder(entry), read_schema(entry.definition))
            _log.info(
                "collection %s: %d points in %.2f s", name, store._open[name].points(), time.perf_counter() - started
            )
        return store

    def _folder(self, entry: Entry) -> Path:
        return self._root / "collections" / entry.folder

    def _sweep(self) -> None:
        """Remove what a crash left: folders of collections that were never entered or already deleted."""
        folders = self._root / "collections"
        folders.mkdir(exist_ok=True)
        known = {entry.folder for entry in self.catalogue.collections.values()}
        for folder in folders.iterdir():
            if folder.name not in known:
                shutil.rmtree(folder)

    def close(self) -> None:
        """Flush and close all collections and let go of the folder."""
        for collection in self._open.values():
            collection.close()
        self._open.clear()
        os.close(self._lock)

    def resolve(self, name: str) -> str:
        """Return the collection that a name or alias stands for. Raises NotFound."""
        target = self.catalogue.aliases.get(name, name)
        if target not in self._open:
            raise NotFound(f"Collection `{name}` doesn't exist!")
        return target

    def get(self, name: str) -> Collection:
        """Return a collection by name or alias. Raises NotFound."""
        self.last_use = time.monotonic()
        return self._open[self.resolve(name)]

    def create(self, name: str, body: dict[str, Any]) -> None:
        """Make a collection; on return it survives a power cut. Raises Conflict, BadRequest, Malformed, Unsupported."""
        _check_name(name)
        if name in self._open:
            raise Conflict(f"Collection `{name}` already exists!")
        if name in self.catalogue.aliases:
            raise Conflict(f"Can't create collection with name {name}. Alias with the same name already exists")
        schema: Schema = read_schema(body)
        entry = Entry(uuid4().hex, body)
        collection = Collection.create(self._folder(entry), schema)
        catalogues.sync_tree(self._folder(entry))
        catalogues.sync_folder(self._root / "collections")
        self._replace(self.catalogue.with_collection(name, entry))
        self._open[name] = collection

    def delete(self, name: str) -> bool:
        """Remove a collection and its aliases; False if there is none of this name (an alias is not followed)."""
        entry = self.catalogue.collections.get(name)
        if entry is None:
            return False
        self._replace(self.catalogue.without_collection(name))
        self._open.pop(name).close()
        # threads of the engine may still be removing files of their own; what is left goes at the next start
        shutil.rmtree(self._folder(entry), ignore_errors=True)
        return True

    def redefine(self, name: str, changes: dict[str, Any]) -> None:
        """Merge members into a collection's definition; a null removes a key of them. Raises NotFound."""
        target = self.resolve(name)
        entry = self.catalogue.collections[target]
        definition = dict(entry.definition)
        for member, change in changes.items():
            merged = {**(definition.get(member) or {}), **change}
            definition[member] = {key: value for key, value in merged.items() if value is not None}
        self._replace(self.catalogue.with_collection(target, replace(entry, definition=definition)))

    def change_aliases(self, actions: object) -> None:
        """Apply alias actions, all or none. Raises BadRequest, Conflict, NotFound, Malformed, Unsupported."""
        aliases = dict(self.catalogue.aliases)
        for action in items(actions, "actions"):
            self._act(Fields(action, "action"), aliases)
        self._replace(self.catalogue.with_aliases(aliases))

    def _act(self, action: Fields, aliases: dict[str, str]) -> None:
        if "create_alias" in action:
            inner = Fields(action.take("create_alias"), "create_alias")
            self._point(text(inner.need("alias_name"), "alias_name"), text(inner.need("collection_name"), ""), aliases)
        elif "delete_alias" in action:
            inner = Fields(action.take("delete_alias"), "delete_alias")
            aliases.pop(text(inner.need("alias_name"), "alias_name"), None)
        elif "rename_alias" in action:
            inner = Fields(action.take("rename_alias"), "rename_alias")
            old, new = text(inner.need("old_alias_name"), ""), text(inner.need("new_alias_name"), "new_alias_name")
            if old not in aliases:
                raise NotFound(f"Alias {old} does not exists!")
            self._point(new, aliases.pop(old), aliases)
        else:
            action.done()
            raise BadRequest("an action is create_alias, delete_alias or rename_alias")
        inner.done()
        action.done()

    def _point(self, alias: str, target: str, aliases: dict[str, str]) -> None:
        _check_name(alias)
        if alias in self._open:
            raise Conflict(f"Collection `{alias}` already exists!")
        if target not in self._open:
            raise NotFound(f"Collection `{target}` doesn't exist!")
        aliases[alias] = target

    def _replace(self, catalogue: Catalogue) -> None:
        catalogues.write(self._root, catalogue)
        self.catalogue = catalogue

    def optimize_idle(self, idle_s: float) -> None:
        """Drop the storage of deleted points, if nobody has asked for anything in the last `idle_s` seconds.

        One collection per call: each blocks the door while it works.
        """
        if time.monotonic() - self.last_use < idle_s:
            return
        for name, collection in self._open.items():
            if collection.written_since_optimize:
                if collection.optimize():
                    _log.info("collection %s: storage of deleted points dropped", name)
                return


def _check_name(name: str) -> None:
    if not name or len(name) > _MAX_NAME or _FORBIDDEN.search(name) or name in (".", ".."):
        raise BadRequest(f"`{name[:80]}` is no collection name")
