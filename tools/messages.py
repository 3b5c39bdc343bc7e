"""List the message of every error that reseen raises: ``python tools/messages.py`` prints them, module by module.

``python tools/messages.py --write`` updates ``tests/messages.txt``, which a test compares with the source. A change of
a sentence is then seen in one place, and other tests check the fields of errors.
"""

from __future__ import annotations

import argparse
import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "reseen"
SNAPSHOT = ROOT / "tests" / "messages.txt"
CLASSES = {"RecipeError", "DataError", "ShapeError", "ModelError", "ResultsError", "ClusterError", "ReseenError"}
ERRORS = CLASSES | {"error"}
"""Classes of errors, and the name of a parameter that is one of them."""


def messages(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the class and the message of each error of a module, with the expressions of f-strings in braces."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    for call in sorted(calls, key=lambda call: call.lineno):
        if call.func.id in ERRORS and call.args:  # type: ignore[attr-defined]
            around = [node for node in functions if node.lineno <= call.lineno <= (node.end_lineno or 0)]
            yield call.func.id, _text(call.args[0], around[-1:] and around[-1].body, call.lineno)


def _text(node: ast.expr, body: list[ast.stmt], line: int) -> str:
    """Return the text of an expression; a variable has the text that was assigned to it last."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, body, line) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return f"{{{ast.unparse(node.value)}}}"
    if isinstance(node, ast.BinOp):
        return _text(node.left, body, line) + _text(node.right, body, line)
    if isinstance(node, ast.Name):
        for statement in reversed([inner for outer in body for inner in ast.walk(outer)]):
            if isinstance(statement, ast.Assign) and statement.lineno < line:
                target = statement.targets[0]
                if isinstance(target, ast.Name) and target.id == node.id:
                    return _text(statement.value, body, statement.lineno)
    return f"{{{ast.unparse(node)}}}"


def listing() -> str:
    """Return all messages, module by module, as the text of the snapshot."""
    lines = []
    for path in sorted(SOURCE.rglob("*.py")):
        found = list(messages(path))
        if found:
            lines.append(f"\n{path.relative_to(SOURCE).as_posix()}")
        for error, text in found:
            lines.append(textwrap.fill(f"{error}: {text}", 118, initial_indent="  ", subsequent_indent="    "))
    return "\n".join(lines).lstrip("\n") + "\n"


def n_sentences(text: str) -> int:
    """Count the sentences of a message; full stops within braces, numbers and file names do not count."""
    plain = re.sub(r"\{[^{}]*\}", "x", text)
    return len(re.findall(r"[.!?](?=\s|$)", plain))


def main() -> None:
    """Print or write the messages."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write {SNAPSHOT.relative_to(ROOT)}")
    text = listing()
    if parser.parse_args().write:
        SNAPSHOT.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
