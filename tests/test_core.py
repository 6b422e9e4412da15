"What is left out is said, even where tsai has silenced the process"
import os, subprocess, sys, warnings
import pytest
from tsai_relcon.core import DataWarning, tell

def said(code): return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True, env={k: v for k,v in os.environ.items() if k!='PYTHONWARNINGS'}).stderr

def test_a_user_hears_it_in_a_fresh_process():
    speaks = 'from tsai_relcon.core import *; import warnings; '
    assert 'left out' in said('import tsai_relcon.data; ' + speaks + "tell('5 rows left out')")
    assert 'left out' in said(speaks + "warnings.filterwarnings('ignore'); tell('5 rows left out')")
    assert 'left out' not in said(speaks + "warnings.filterwarnings('ignore', category=DataWarning); tell('5 rows left out')")

def test_importing_us_silences_nobody_else():
    assert 'mine' in said("import tsai_relcon.all, warnings; warnings.warn('mine')")

def test_errors_and_records_are_respected():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        with pytest.raises(DataWarning): tell('x')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        with pytest.warns(DataWarning): tell('x')
