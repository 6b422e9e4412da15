"The allocator keeps what is freed, counted in page faults; not where it is told not to"
import os, platform, subprocess, sys
from pathlib import Path
import pytest
import torch
from tsai_relcon.machine import about_machine, in_threads, keep_freed_memory

glibc = pytest.mark.skipif(platform.libc_ver()[0]!='glibc', reason='glibc alone has these settings')

def faults(setting):
    "Page faults of allocating, filling and freeing 64 MB twenty times, after fifteen that settle the heap"
    code = """import resource, torch
from tsai_relcon.machine import keep_freed_memory
keep_freed_memory()
for _ in range(15): torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20): torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt-before)"""
    return int(subprocess.run([sys.executable, '-W', 'ignore', '-c', code], env={**os.environ, 'TSAI_RELCON_MALLOC': setting}, capture_output=True, text=True, check=True).stdout)

@pytest.mark.parametrize('told,says', [('processor\t: 0\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: Some CPU\n\nprocessor\t: 1\nmodel\t\t: 9\n', 'Some CPU (family 26, model 2)'), ('model name\t: ARM of a kind\n', 'ARM of a kind'), ('Hardware\t: X\n', 'as the system says')])
def test_processors_of_one_name_are_told_apart(told, says, monkeypatch):
    monkeypatch.setattr(Path, 'exists', lambda self: True)
    monkeypatch.setattr(Path, 'read_text', lambda self: told)
    monkeypatch.setattr(platform, 'processor', lambda: 'as the system says')
    assert about_machine().startswith(f'{says}, ')

@glibc
def test_freed_memory_is_not_faulted_in_again(): assert faults('1')<100

@glibc
def test_it_can_be_told_not_to(): assert faults('0')>600            # with huge pages of 2 MB, 32 for each of 20; without, 16,384

def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(platform, 'libc_ver', lambda: ('', ''))
    assert keep_freed_memory() is False

def test_fits_call_it(monkeypatch):
    import tsai_relcon.callback as room
    from tsai_relcon.batches import relcon_dls
    from tsai_relcon.datasets import motionsense
    from tsai_relcon.distance import MotifDistance
    from tsai_relcon.learner import relcon_learner
    called = []
    monkeypatch.setattr(room, 'keep_freed_memory', lambda: called.append(1))
    learn = relcon_learner(relcon_dls(motionsense()[::8], n_groups=4, n_within=2, train_batches=1, valid_batches=1), MotifDistance(), arch_config=dict(nf=4))
    with learn.no_bar(), learn.no_logging(): learn.fit(1)
    assert called

def test_a_record_names_its_machine():
    line = about_machine()
    assert f'Python {platform.python_version()}' in line and f'{os.cpu_count()} cores' in line and 'torch' in line

@pytest.fixture
def three_threads():
    n = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(n)

def test_each_piece_is_done_once_by_threads_of_one_thread(three_threads):
    done, threads, grads = [], [], []
    def f(i): done.append(i); threads.append(torch.get_num_threads()); grads.append(torch.is_grad_enabled())
    in_threads(f, range(20))
    assert sorted(done)==list(range(20)) and set(threads)=={1} and not any(grads)
    assert torch.get_num_threads()==3 and torch.is_grad_enabled()

@pytest.mark.parametrize('pieces', [[], [7]])
def test_little_work_needs_no_threads(three_threads, pieces):
    done = []
    in_threads(lambda i: done.append((i, torch.get_num_threads())), pieces)
    assert done==[(i,3) for i in pieces]

def test_what_a_piece_raises_is_raised(three_threads):
    def f(i):
        if i==3: raise ValueError('piece 3')
    with pytest.raises(ValueError, match='piece 3'): in_threads(f, range(5))
    assert torch.get_num_threads()==3
