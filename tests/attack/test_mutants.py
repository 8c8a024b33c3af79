"""What faults are put into sources, and that the page gives reasons for faults that there are."""

import pytest
from attack.faults import of_native, of_python
from attack.mutants import NATIVE, PACKAGE, PYTHON, ROOT, explained

SOURCE = '''
def mean(v, size=2):
    """Text stays."""
    if not v:
        raise ValueError
    total = -sum(x for x in v if x < 0)
    return total / max(size, 1)
'''
CHANGES = {
    (2, "def mean(v, size=2): → def mean(v, size=5):"),
    (4, "if not v: → if not not v:"),
    (5, "raise ValueError → pass"),
    (6, "total = -sum((x for x in v if x < 0)) → pass"),
    (6, "total = -sum((x for x in v if x < 0)) → total = +sum((x for x in v if x < 0))"),
    (6, "total = -sum((x for x in v if x < 0)) → total = -sum((x for x in v if not x < 0))"),
    (6, "total = -sum((x for x in v if x < 0)) → total = -sum((x for x in v if x <= 0))"),
    (6, "total = -sum((x for x in v if x < 0)) → total = -sum((x for x in v if x < 1))"),
    (7, "return total / max(size, 1) → return total * max(size, 1)"),
    (7, "return total / max(size, 1) → return total / min(size, 1)"),
    (7, "return total / max(size, 1) → return total / max(size, 3)"),
}
NATIVE_SOURCE = """
int64_t before = 1 + 1;
namespace {
// a + b stays.
void halve(int64_t a) {
  prefetch(a + 1);
  if (a > 2) return a / 2;  // a - b stays
  sums[a] += !a ? b : a;
  sort(a, b);
}
}  // namespace
"""
NATIVE_CHANGES = {
    7: ["(a > 2) → (!(a > 2))", "a > 2 → a >= 2", "> 2 → > 5", "/ 2 → * 2", "/ 2 → / 5"],
    8: ["!a → a", "+= → -=", " ? →  && false ?", " ? →  || true ?", "sums[a] += !a ? b : a → "],
    9: ["a, b → b, a", "sort(a, b) → "],
}


def mutants_of(name):
    if name in NATIVE:
        return list(of_native((ROOT / "native" / name).read_text()))
    return list(of_python((PACKAGE / name).read_text()))


def test_faults_of_a_small_source():
    found = list(of_python(SOURCE))
    assert {(mutant.line, mutant.change) for mutant in found} == CHANGES
    assert len({mutant.source for mutant in found}) == len(CHANGES)


def test_faults_of_a_small_source_of_the_kernel():
    lines = NATIVE_SOURCE.splitlines()
    expected = {
        (number, NATIVE_SOURCE.replace(text := lines[number - 1], text.replace(*change.split(" → "))))
        for number, changes in NATIVE_CHANGES.items()
        for change in changes
    }
    found = list(of_native(NATIVE_SOURCE))
    assert {(mutant.line, mutant.source.replace("\n;\n", "\n  ;\n")) for mutant in found} == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize("name", [*PYTHON, *NATIVE])
def test_every_fault_has_a_name_of_its_own(name):
    found = mutants_of(name)
    assert len(found) == len({(mutant.line, mutant.change) for mutant in found}) > 40


@pytest.mark.parametrize(("name", "change"), explained())
def test_reasons_are_given_for_faults_that_there_are(name, change):
    assert change in {mutant.change for mutant in mutants_of(name)}
