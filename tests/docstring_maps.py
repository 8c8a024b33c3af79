"""What maps say: the modules that a package's docstring names, and the files in a tree on a page."""

import ast
import re

_ITEM = re.compile(r"^- .+(?:\n  .+)*", re.MULTILINE)
_NAME = re.compile(r"(?<!`)`([\w.]+)`(?!`)")
_TREE = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATHS = re.compile(r"[\w./-]+(, [\w./-]+)*")
_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef


def missing_modules(package, modules):
    """Return the names in the map of a package's docstring that are not there.

    What stands before an item's colon must be modules of the package; what stands after it may also be what one of them
    defines.
    """
    own = {name: module for name, module in modules.items() if f"{name}.".startswith(f"{package.name}.")}
    children = {name.removeprefix(f"{package.name}.").partition(".")[0] for name in own}
    defined = children.union(*map(_defined, own.values()))
    missing = []
    for item in _ITEM.findall(ast.get_docstring(package.tree) or ""):
        head, _, rest = item.partition(":")
        missing += [name for name in _NAME.findall(head) if "." not in name and name not in children]
        missing += [name for name in _NAME.findall(rest) if "." not in name and name not in defined]
    return missing


def missing_references(module, modules):
    """Return the names under the whole package in a module's docstrings that are no module and nothing of one."""
    whole = module.name.partition(".")[0]
    documented = (node for node in ast.walk(module.tree) if isinstance(node, _DOCUMENTED))
    texts = [ast.get_docstring(node) or "" for node in documented]
    names = [name for text in texts for name in _NAME.findall(text) if name.startswith(f"{whole}.")]
    return [name for name in names if not _is_there(name, modules)]


def _is_there(name, modules):
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        module = modules.get(".".join(parts[:end]))
        if module is not None:
            return end == len(parts) or parts[end] in _defined(module) or parts[end].startswith("__")
    return False


def _defined(module):
    """Return the names that a module defines at its top, imports or makes public."""
    names = set(module.public or ())
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return names


def missing_files(page, root):
    """Return the paths in the trees of a page that aren't there.

    A line of a tree is a path, or several with commas (``kernel.hpp, .cpp``), and after spaces what it is.
    """
    return [path for tree in _TREE.findall(page) for path in _paths(tree) if not (root / path).exists()]


def _paths(tree):
    folders = []
    for line in tree.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        names = _PATHS.match(line.strip())[0].split(", ")
        stem = names[0].partition(".")[0]
        parent = "".join(folders[:depth])
        yield from (parent + (stem + name if name.startswith(".") else name) for name in names)
        if names[0].endswith("/"):
            folders[depth:] = [names[0]]
