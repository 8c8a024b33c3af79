"""What the sources of a package say about its architecture, read from their syntax: nothing is imported."""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Module:
    """A module: its name, its syntax, and whether it is a package's ``__init__``."""

    name: str
    tree: ast.Module
    is_package: bool

    @property
    def room(self):
        """The module or package directly under the whole package; the whole package's own name for its ``__init__``."""
        return room_of(self.name)

    @property
    def public(self):
        """What ``__all__`` says, or None without one."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and any(getattr(t, "id", None) == "__all__" for t in node.targets):
                return ast.literal_eval(node.value)
        return None


def room_of(name):
    first, _, rest = name.partition(".")
    return rest.split(".")[0] or first


def read(root):
    """Return all modules under a package's folder, by name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = (root.name, *path.relative_to(root).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        found[name] = Module(name, ast.parse(path.read_text(encoding="utf-8")), is_package)
    return found


def imports(module, modules):
    """Return what a module imports anywhere in it: modules of this package by their names, others by their packages'.

    Imports inside functions and under ``TYPE_CHECKING`` count, and so does ``import_module`` of a name spelled out.
    """
    return {target if target in modules else target.split(".")[0] for target in _targets(module, modules)}


def _targets(module, modules) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, module)
            for alias in node.names:
                deeper = f"{base}.{alias.name}"
                yield deeper if deeper in modules else base
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            yield from (a.value for a in node.args[:1] if isinstance(a, ast.Constant) and not a.value.startswith("."))


def _base(node, module):
    if not node.level:
        return node.module
    parents = module.name.split(".")[: None if module.is_package else -1]
    return ".".join([*parents[: len(parents) - node.level + 1], *([node.module] if node.module else [])])


def upward(modules, tiers):
    """Return the imports that don't lead from a room to one of a lower tier; within a tier there are none."""
    height = {room: number for number, tier in enumerate(tiers) for room in tier}
    return sorted(
        f"{module.name} imports {target}"
        for module in modules.values()
        for target in imports(module, modules) & modules.keys()
        if module.room != room_of(target) and not height[module.room] > height[room_of(target)]
    )


def circles(modules):
    """Return the groups of modules that reach each other."""
    edges = {name: imports(module, modules) & modules.keys() for name, module in modules.items()}
    reached = {name: _reachable(name, edges) for name in modules}
    groups = {frozenset(other for other in reached[name] if name in reached[other]) for name in modules}
    return sorted(sorted(group) for group in groups if group)


def _reachable(start, edges):
    seen, waiting = set(), [start]
    while waiting:
        for target in edges[waiting.pop()] - seen:
            seen.add(target)
            waiting.append(target)
    return seen


def foreign(modules, allowed):
    """Return the imports of packages that a room may not have."""
    return sorted(
        f"{module.name} imports {package}"
        for module in modules.values()
        for package in imports(module, modules) - modules.keys() - sys.stdlib_module_names
        if package not in allowed.get(module.room, ())
    )


def same_names(modules, allowed=()):
    """Return the classes that share a name, but for those that may."""
    places = {}
    for module in modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef) and node.name not in allowed:
                places.setdefault(node.name, []).append(module.name)
    return {name: found for name, found in places.items() if len(found) > 1}


def public_paths(modules):
    """Return where the public names are imported from, sorted."""
    return sorted(f"{module.name}.{name}" for module in modules.values() for name in module.public or ())


def shown_on_page(page):
    """Return the paths that an API page shows, sorted; one that it shows twice is there twice."""
    return sorted(re.findall(r"^::: (\S+)$", page, re.MULTILINE))


def private_uses(text, modules):
    """Return what the Python code of a page takes from modules of the package that is in no ``__all__``."""
    bound, found = {}, set()
    for code in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Import):
                ours = [alias for alias in node.names if alias.name.split(".")[0] in modules]
                bound |= {alias.asname or alias.name.split(".")[0]: alias.asname and alias.name for alias in ours}
                found |= {alias.name for alias in ours if not _is_public(alias.name, modules)}
            elif isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in modules:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                bound |= {alias.asname or alias.name: name for alias, name in zip(node.names, names, strict=True)}
                found |= {name for name in names if not _is_public(name, modules)}
            elif isinstance(node, ast.Attribute) and (path := _dotted(node)) and path[0] in bound:
                whole = ".".join([bound[path[0]] or path[0], *path[1:]])
                found |= {whole} if not _is_public(whole, modules) else set()
    return sorted(found)


def _dotted(node):
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    return [node.id, *reversed(names)] if isinstance(node, ast.Name) else None


def _is_public(path, modules):
    """Whether a dotted name is a module with an ``__all__``, or leads through such modules to a name in one."""
    if path in modules:
        return modules[path].public is not None
    module, _, name = path.rpartition(".")
    if module not in modules:  # an attribute of an object
        return _is_public(module, modules)
    return name in (modules[module].public or ()) or (name.startswith("__") and modules[module].public is not None)
