"What is left out is said, even where tsai has silenced the process"
import os, subprocess, sys, warnings
import numpy as np
import pytest
from tsai_relcon.core import DataWarning, check_count, check_number, check_rate, check_switch, tell

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

@pytest.mark.parametrize('value', [1, .5, np.float32(.5), np.int16(3), 10**9])
def test_numbers_of_python_and_numpy_are_numbers(value):
    assert check_number('tau', value)==value and isinstance(check_number('tau', value), float)

@pytest.mark.parametrize('value', [0, -1, float('nan'), float('inf'), np.float32('inf'), np.float16('nan'), 10**400, True, np.True_, '1', None, 1j, np.complex64(1), np.ones(1), [1]])
def test_what_is_no_number_above_0_is_refused(value):
    with pytest.raises(ValueError, match='`tau` is .*; wanted a number above 0'): check_number('tau', value)

@pytest.mark.parametrize('value', [0, 1., 1.5, True, '2', None, float('nan')])
def test_a_count_is_whole_and_no_switch(value):
    with pytest.raises(ValueError, match='`n` is .*; wanted a whole number, 1 or more'): check_count('n', value)

def test_a_count_has_its_least():
    assert check_count('n', np.int64(2), 2)==2 and type(check_count('n', np.int64(2), 2)) is int and check_count('n', 0, 0)==0
    with pytest.raises(ValueError, match='2 or more'): check_count('n', 1, 2)

@pytest.mark.parametrize('value', [0, 1, 'yes', None, np.True_])
def test_a_switch_is_true_or_false(value):
    with pytest.raises(ValueError, match='`own_view` is .*; wanted True or False'): check_switch('own_view', value)

def test_infinity_is_a_number_where_it_is_asked_for():
    assert check_number('seconds', float('inf'), endless=True)==float('inf')==check_number('seconds', np.float32('inf'), endless=True)
    for wrong in (-float('inf'), float('nan'), True):
        with pytest.raises(ValueError, match='`seconds` is'): check_number('seconds', wrong, endless=True)

@pytest.mark.parametrize('value', [0, -50, 10**400, float('inf'), float('nan'), True, np.True_, '50', None])
def test_what_is_no_rate_is_refused(value):
    with pytest.raises(ValueError, match='`rate` is .*; wanted samples a second'): check_rate(value)
