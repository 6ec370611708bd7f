"""The faults of mutants.py still fit the source, so that its table cannot go stale."""

from django.test import SimpleTestCase

from tests.model.mutants import MUTANTS
from tests.structure.sources import ROOT


class TestMutants(SimpleTestCase):
    def test_each_fault_fits_the_source_exactly_once(self) -> None:
        for mutant in MUTANTS:
            for edit in mutant.edits:
                with self.subTest(mutant.name, path=edit.path):
                    self.assertEqual((ROOT / edit.path).read_text().count(edit.before), 1)

    def test_each_names_a_test_that_is_there(self) -> None:
        for mutant in MUTANTS:
            for test in mutant.caught_by:
                path, *_, name = test.split("::")
                self.assertIn(f"def {name}(", (ROOT / path).read_text(), mutant.name)
