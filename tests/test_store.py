"A store against recordings cut by a plain double loop; what a writer that was killed leaves; a billion segments that are nowhere"
import inspect, json, multiprocessing, os, pickle, signal, subprocess, sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
import joblib
import numpy as np
import pandas as pd
import pytest
import zarr
import tsai_relcon.store as store_room
from tsai_relcon.core import DataWarning, is_flat
from tsai_relcon.recordings import from_csv, from_npz
from tsai_relcon.convert import convert, csv_stretches, npz_stretches
from tsai_relcon.batches import relcon_dls
from tsai_relcon.store import StoreWriter, _load_index, _save_index, create_store, open_store

def walk(n, seed=0): return np.random.default_rng(seed).normal([0,0,1], .3, (n,3))

# (subject, start or None, samples at 20 Hz), in chunks of 10 s: 200 samples
many = [('ann',None,730), ('ann',None,45), ('ben',50.,20), ('ben',55.5,390), ('ben',1000.25,400), ('cat',None,5), ('ann',400.,333), ('ann',None,100), ('dan',-20.,200), ('dan',1e9,201), ('eve',None,13)]

def make(path, recordings=many, chunk_seconds=10., **kwargs):
    with create_store(path, 20, chunk_seconds, **kwargs) as w:
        for i,(who,start,n) in enumerate(recordings): w.append(walk(n, i), who, start, source=f'file {i}')
    return path

def by_loop(length, chunk=200, dtype=np.float16, recordings=many):
    "[(samples (3, length), subject, start, chunk)] of each segment, one sample and one segment after the other"
    out, end, last, clock = [], 0, None, {}
    for i,(who,start,n) in enumerate(recordings):
        if who!=last:
            while end%chunk: end += 1
        last, start, a = who, clock.get(who, 0.) if start is None else start, walk(n, i).astype(np.float32).astype(dtype)
        s = 0
        while s<n:
            room = chunk-(end+s)%chunk
            piece = min(room, n-s)
            for j in range(piece//length):
                x = a[s+j*length:s+(j+1)*length].T
                out.append((x.astype(np.float32), who, start+(s+j*length)/20, (end+s)//chunk))
            s += piece
        end += n
        clock[who] = max(clock.get(who, -np.inf), start+n/20)
    return out

def same(a, b, length=32):
    "All that two stores hold"
    a, b = open_store(a, length), open_store(b, length)
    rows = slice(None)
    return a.shape==b.shape and all(np.array_equal(*o) for o in [(a[rows].X, b[rows].X), (a.subject_of(rows), b.subject_of(rows)), (a.time_of(rows), b.time_of(rows)), (a.lo, b.lo)])

# ---- segments

@pytest.mark.parametrize('length', [2, 16, 50, 199, 200])
@pytest.mark.parametrize('dtype', ['float16','float32'])
def test_every_segment_by_loop(tmp_path, length, dtype):
    s, wanted = open_store(make(tmp_path/'s', dtype=dtype), length), by_loop(length, dtype=dtype)
    assert len(s)==len(wanted) and s.shape==(len(wanted), 3, length) and s.unused==pytest.approx(1-len(wanted)*length/sum(n for *_,n in many))
    assert s.subject_of(slice(None)).tolist()==[who for _,who,_,_ in wanted] and set(s.subjects)=={who for _,who,_,_ in wanted}
    np.testing.assert_allclose(s.time_of(slice(None)), [t for _,_,t,_ in wanted], rtol=1e-12)
    rows = np.random.default_rng(0).permutation(len(s))
    X = s[rows].X
    assert X.dtype==np.float32 and all(np.array_equal(x, wanted[r][0]) for x,r in zip(X, rows))

def test_rows_of_all_kinds(tmp_path):
    s = open_store(make(tmp_path/'s'), 16)
    everything = s[:]
    for rows in (3, -1, [5,2,5], slice(4, 20, 3), np.arange(len(s))%3==0):
        some = s[rows]
        at = np.atleast_1d(np.arange(len(s))[rows])
        assert np.array_equal(some.X, everything.X[at]) and np.array_equal(some.time, everything.time[at]) and np.array_equal(some.subject, everything.subject[at])
        assert np.array_equal(some.recording, everything.recording[at])
    for rows in (len(s), [0,-len(s)-1]):
        with pytest.raises(IndexError, match=f'there are {len(s)} segments'): s[rows]
    for rows in ([], np.zeros(len(s), bool)):
        with pytest.raises(ValueError, match='selection is empty'): s[rows]
    for rows in ([.5], np.ones(3, bool), [[1]], 'x'):
        with pytest.raises(ValueError, match='`rows`'): s[rows]

def test_repr_says_it_all(tmp_path):
    assert repr(open_store(make(tmp_path/'s'), 16))==f"StoredSegments: {len(by_loop(16)):,} x 3 x 16 at 20 Hz (0.8 s), 3 subjects, float16, in {tmp_path/'s'}"      # eve and cat have too few samples

def test_each_chunk_is_read_once(tmp_path, monkeypatch):
    s, asked = open_store(make(tmp_path/'s'), 16), []
    class Counting:
        def __getitem__(self, at): asked.append((at[1].start//200, (at[1].stop-1)//200)); return s._array[at]
    monkeypatch.setattr(type(s), 'array', Counting())
    s[:]
    assert len(asked)==len(set(s.piece_chunk)) and all(a==b for a,b in asked)
    asked.clear(); s.groups(60).read(0)
    assert len(asked)==1

# ---- groups

@pytest.mark.parametrize('neighbourhood', [1.6, 3.3, 10., 3600., 2e9])
def test_groups_by_loop(tmp_path, neighbourhood):
    s, wanted, groups = open_store(make(tmp_path/'s'), 16), by_loop(16), {}
    for row,(x,who,t,k) in enumerate(wanted):
        earliest = min(o[2] for o in wanted if o[3]==k)
        groups.setdefault((k, np.floor((t-earliest)/neighbourhood+1e-6)), []).append(row)
    g = s.groups(neighbourhood)
    assert len(g)==len(groups) and sorted(sorted(g.rows(i).tolist()) for i in range(len(g)))==sorted(groups.values())
    for i in range(len(g)):
        rows, x = g.rows(i), g.read(i)
        assert x.shape==(g.size[i], 3, 16) and x.dtype==np.float32 and x.flags['C_CONTIGUOUS'] and all(np.array_equal(a, wanted[r][0]) for a,r in zip(x, rows))
        assert {wanted[r][1] for r in rows}=={s.subjects[g.subject[i]]} and {wanted[r][3] for r in rows}=={g.chunk[i]}
        times = [wanted[r][2] for r in rows]
        assert times==sorted(times) and times[-1]-times[0]<=neighbourhood

def test_groups_hold_every_segment_once_whatever_the_times(tmp_path):
    rng = np.random.default_rng(0)
    for trial in range(12):
        recordings = [(f's{rng.integers(3)}', float(rng.choice([rng.uniform(-1e3,1e3), .1*rng.integers(100)])), int(rng.integers(1, 700))) for _ in range(8)] + [('s',None,40)]
        s = open_store(make(tmp_path/f'{trial}', recordings), 2)
        for neighbourhood in (.2, .3, .7, 4.1):
            g = s.groups(neighbourhood)
            assert np.array_equal(np.sort(np.concatenate([g.rows(i) for i in range(len(g))])), np.arange(len(s))) and np.array_equal(g.size, [len(g.rows(i)) for i in range(len(g))])
            assert all(np.ptp(s.time_of(g.rows(i)))<=neighbourhood+1e-9 for i in range(len(g)))

def test_one_long_recording_has_a_group_a_chunk(tmp_path):
    g = open_store(make(tmp_path/'s', [('ann',1807.3,2000)]), 16).groups(10.)
    assert g.size.tolist()==[200//16]*10 and repr(g)=="StoreGroups: 10 groups of 12 to 12 segments within 10 s"

@pytest.mark.parametrize('neighbourhood', [0, 1.5, -1, np.inf, np.nan, '3600', True])
def test_bad_neighbourhoods(tmp_path, neighbourhood):
    s = open_store(make(tmp_path/'s', many[:1]), 16)
    with pytest.raises(ValueError, match='`neighbourhood`'): s.groups(neighbourhood)
    for g in (-1, 10**6):
        with pytest.raises(IndexError, match='`g`'): s.groups(60).read(g)

# ---- many processes

def read_groups(groups, which): return [groups.read(g) for g in which]

@pytest.mark.parametrize('method', ['fork','spawn'])
def test_readers_in_two_processes(tmp_path, method):
    s = open_store(make(tmp_path/'s'), 16)
    g = s.groups(60)
    here = read_groups(g, range(len(g)))                                 # the parent's zarr has run before the fork
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(method)) as pool:
        for _,there in zip(range(4), pool.map(partial(read_groups, g), [range(len(g))]*4)): assert all(np.array_equal(a, b) for a,b in zip(here, there))

def test_a_copy_is_the_same_even_if_the_store_has_grown(tmp_path):
    s = open_store(make(tmp_path/'s'), 16)
    sent, n, groups, everything = pickle.dumps((s, s.groups(60))), len(s), len(s.groups(60)), s[:].X
    with StoreWriter(tmp_path/'s') as w:
        w.append(walk(300), 'zoe'); w.append(walk(300), 'ann')
    copy, g = pickle.loads(sent)
    assert len(sent)<1000 and len(copy)==n and len(g)==groups and np.array_equal(copy[:].X, everything) and np.array_equal(s[:].X, everything)
    assert len(open_store(tmp_path/'s', 16))>n

def test_opening_writes_nothing(tmp_path):
    make(tmp_path/'s')
    before = {f: (f.stat().st_mtime_ns, f.stat().st_size) for f in (tmp_path/'s').rglob('*')}
    s = open_store(tmp_path/'s', 16); s[:]; s.groups().read(0)
    assert {f: (f.stat().st_mtime_ns, f.stat().st_size) for f in (tmp_path/'s').rglob('*')}==before

# ---- writing

def test_opening_again_after_each_recording_changes_nothing(tmp_path):
    make(tmp_path/'whole')
    create_store(tmp_path/'s', 20, 10.).close()
    for i,(who,start,n) in enumerate(many):
        with StoreWriter(tmp_path/'s') as w: w.append(walk(n, i), who, start, source=f'file {i}')
    assert same(tmp_path/'s', tmp_path/'whole')
    a, b = _load_index(tmp_path/'s'), _load_index(tmp_path/'whole')
    assert all(np.array_equal(a[k], b[k]) for k in a) and a['sources']==[f'file {i}' for i in range(len(many))]

def test_flushing_after_each_recording_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(store_room, '_flush_seconds', 1e9); make(tmp_path/'seldom')
    monkeypatch.setattr(StoreWriter, '_flush_if_due', StoreWriter.flush); make(tmp_path/'often')
    assert same(tmp_path/'seldom', tmp_path/'often')

def run(code, *args, returns=0):
    "Python in a process of its own; its output"
    p = subprocess.run([sys.executable, '-c', inspect.cleandoc(code), *map(str, args)], capture_output=True, text=True, cwd=Path(__file__).parent, env=dict(os.environ, OMP_NUM_THREADS='1'))
    assert p.returncode==returns, p.stderr
    return p.stdout

def test_what_a_dead_writer_left_beyond_the_index_is_overwritten(tmp_path):
    make(tmp_path/'s', many[:4])
    n = len(open_store(tmp_path/'s', 16))
    run("""import os, sys
        from test_store import *
        w = StoreWriter(sys.argv[1]); w.append(walk(5000, 99), 'ben', 55.5+390/20); w._save_chunk(); os.kill(os.getpid(), signal.SIGKILL)""", tmp_path/'s', returns=-signal.SIGKILL)
    assert len(list((tmp_path/'s/acc/c/0').iterdir()))>20 and len(open_store(tmp_path/'s', 16))==n
    (tmp_path/'s/recordings.npz.123.partial').write_bytes(b'half an index')
    with StoreWriter(tmp_path/'s') as w:
        for i,(who,start,m) in enumerate(many[4:], 4): w.append(walk(m, i), who, start)
    assert same(tmp_path/'s', make(tmp_path/'whole')) and not list((tmp_path/'s').glob('*.partial'))

def test_one_writer_at_a_time(tmp_path):
    with create_store(tmp_path/'s', 20, 10.) as w:
        with pytest.raises(ValueError, match='`path`.*has a writer already'): StoreWriter(tmp_path/'s')
    StoreWriter(tmp_path/'s').close()
    with pytest.raises(ValueError, match='closed'): w.append(walk(100), 'ann')

def test_nothing_is_made_over_what_is_there(tmp_path):
    make(tmp_path/'s')
    (tmp_path/'file').write_text('x'); (tmp_path/'empty').mkdir()
    for name in ('s','file'):
        with pytest.raises(FileExistsError, match='`path`'): create_store(tmp_path/name, 20)
    create_store(tmp_path/'empty', 20).close(); create_store(tmp_path/'new/deep', 20).close()
    assert sorted(f.name for f in tmp_path.iterdir())==['empty','file','new','s']

@pytest.mark.parametrize('change,says', [(dict(rate=0), '`rate`'), (dict(rate='50'), '`rate`'), (dict(dtype='int16'), '`dtype`'), (dict(chunk_seconds=0), '`chunk_seconds`'),
                                         (dict(chunk_seconds=np.nan), '`chunk_seconds`'), (dict(chunk_seconds=.01), '`chunk_seconds`'), (dict(chunk_seconds='1'), '`chunk_seconds`')])
def test_bad_stores_are_not_made(tmp_path, change, says):
    with pytest.raises(ValueError, match=says): create_store(**{**dict(path=tmp_path/'s', rate=20), **change})
    assert not list(tmp_path.iterdir())

def hit(v, n=400, at=7): a = walk(n); a[at,1] = v; return a
def stuck(n=400, i=100, j=160): a = walk(n); a[i:j] = a[i]; return a

@pytest.mark.parametrize('change,says', [
    (dict(samples=hit(np.nan)), '`samples` holds NaN or infinity at 1 of 400'), (dict(samples=hit(np.inf)), 'NaN or infinity'), (dict(samples=walk(50).T), r'\(T, 3\).*samples.T'),
    (dict(samples=walk(50)[:,:2]), r'\(T, 3\)'), (dict(samples=walk(0)), '`samples` is empty'), (dict(samples=(walk(50)*1000).astype(int)), 'counts_to_g'), (dict(samples=np.round(walk(50)*1000)), 'whole numbers'),
    (dict(samples=walk(50)*9.81), 'magnitude.*ms2_to_g'), (dict(samples=hit(65.)), r'`samples` reaches 65 g.*dtype=.float32.'), (dict(samples=hit(-1e6)), 'float32'),
    (dict(samples=stuck()), r"does not change.* for 3 s \(from 5 s on\).*flat='cut'"), (dict(samples=np.ones((50,3))*.37), 'does not change'), (dict(flat='drop'), '`flat`'),
    (dict(samples=walk(50)*1e-9+[0,0,1]), 'does not change in its float16'), (dict(subject=None), '`subject`'), (dict(subject=''), '`subject`'), (dict(subject=1.5), '`subject`'), (dict(start=np.nan), '`start`'), (dict(start='0'), '`start`')])
def test_malformed_recordings_are_refused_and_leave_nothing(tmp_path, change, says):
    make(tmp_path/'s', many[:2])
    with StoreWriter(tmp_path/'s') as w:
        with pytest.raises(ValueError, match=says): w.append(**{**dict(samples=walk(50), subject='ann'), **change})
    assert same(tmp_path/'s', make(tmp_path/'whole', many[:2]))

@pytest.mark.filterwarnings('ignore:overflow')
def test_large_and_small_numbers_where_they_fit(tmp_path):
    with create_store(tmp_path/'s', 20, 10., dtype='float32') as w: w.append(hit(65.), 1); w.append(walk(50)*1e-5+[0,0,1], np.int64(2))
    s = open_store(tmp_path/'s', 16)
    assert s[:].X.max()==65 and s.subjects.tolist()==['1','2']
    with pytest.raises(ValueError, match='`samples` reaches inf'), StoreWriter(tmp_path/'s') as w: w.append(hit(1e39), 1)
    with create_store(tmp_path/'t', 20, 10.) as w: w.append(hit(63.97), 1)
    assert open_store(tmp_path/'t', 16)[:].X.max()==pytest.approx(63.97, abs=2**-6)

def test_stretches_in_which_nothing_changes_are_cut_out_and_told(tmp_path):
    a = stuck(); a[175:300] = a[175]; a[380:] = a[380]                     # 160 to 175: a scrap of less than a second
    with create_store(tmp_path/'s', 20, 10.) as w:
        with pytest.warns(DataWarning, match='11 of 20 s of subject ann'): w.append(a, 'ann', flat='cut')
        with pytest.warns(DataWarning, match='5 of 5 s'): w.append(np.ones((100,3)), 'ben', flat='cut')
        w.append(walk(40), 'ann')
    s = open_store(tmp_path/'s', 20)
    assert s.time_of(slice(None)).tolist()==[0,1,2,3,4,15,16,17,18,19,20] and s.subjects.tolist()==['ann']         # the clock goes on; the end that was cut is not known any more
    assert np.array_equal(s[5].X[0], a[300:320].T.astype(np.float16)) and not is_flat(s[:].X).any()

def test_no_segment_of_a_second_is_flat_wherever_it_is_cut(tmp_path):
    rng, n = np.random.default_rng(1), 6000
    a = walk(n)
    for i in rng.integers(0, n-60, 60): a[i:i+rng.integers(2, 60)] = a[i]
    with create_store(tmp_path/'s', 20, 1000.) as w:
        with pytest.warns(DataWarning, match='left out'): w.append(a, 'ann', flat='cut')
    assert not any(is_flat(open_store(tmp_path/'s', length)[:].X).any() for length in range(20, 60))

# ---- what is no store

def without(**change):
    def edit(path):
        with np.load(path/'recordings.npz') as f: d = dict(f)
        d.update(change)
        np.savez(path/'recordings.npz', **{k: v for k,v in d.items() if v is not None})
    return edit

def cut_short(path): f = path/'recordings.npz'; f.write_bytes(f.read_bytes()[:-100])
def empty(path): (path/'recordings.npz').write_bytes(b'')
def foreign(path): np.savez(path/'recordings.npz', acc=walk(5))
def python_objects(path): np.savez(path/'recordings.npz', format=np.array([{}], dtype=object))
def no_array(path): os.rename(path/'acc', path/'other')
def other_array(path): zarr.create_array(store=str(path/'acc'), shape=(3,10_000), chunks=(3,100), dtype='float32', overwrite=True)
def short_array(path): zarr.open_array(store=str(path/'acc'), mode='r+').resize((3,400))

@pytest.mark.parametrize('damage,says', [
    (lambda p: (p/'recordings.npz').unlink(), 'no index'), (cut_short, 'damaged'), (empty, 'damaged'), (python_objects, 'damaged'), (foreign, "format 'None'"), (without(format=np.array('tsai_relcon recordings 9')), 'recordings 9.*wanted'),
    (without(rate=None), "lacks 'rate'"), (without(offset=np.arange(3)), 'do not fit'), (without(length=-np.ones(len(many), 'i8')), 'do not fit'), (without(start=np.full(len(many), np.nan)), 'do not fit'),
    (without(subject=np.full(len(many), 9, 'i4')), 'do not fit'), (without(subjects=np.zeros(3, np.uint8)), 'damaged'), (no_array, 'no zarr array'), (other_array, 'its index wants'), (short_array, 'its index wants')])
def test_damaged_stores_are_refused(tmp_path, damage, says):
    damage(make(tmp_path/'s'))
    for way in (open_store, StoreWriter):
        with pytest.raises(ValueError, match=f'(?s)`path`.*{says}'): way(tmp_path/'s')

def test_folders_that_are_no_store(tmp_path):
    (tmp_path/'f.csv').write_text('x')
    for path in (tmp_path, tmp_path/'none', tmp_path/'f.csv'):
        for way in (open_store, StoreWriter):
            with pytest.raises(ValueError, match='`path`.*is no store'): way(path)
    assert [f.name for f in tmp_path.iterdir()]==['f.csv']
    create_store(tmp_path/'empty', 20).close()
    with pytest.raises(ValueError, match='no recording yet'): open_store(tmp_path/'empty')

def test_bad_lengths(tmp_path):
    make(tmp_path/'s')
    with pytest.raises(ValueError, match='`length` is 201.*has 200 samples'): open_store(tmp_path/'s', 201)
    for length in (1, 2.5, '16', np.nan):
        with pytest.raises(ValueError, match='`length`'): open_store(tmp_path/'s', length)

# ---- many files

def folder_of_csv(path, n=9, rate=40):
    "Two files a person, end to end on the person's clock; returns the files"
    path.mkdir()
    for i in range(n):
        a = walk(1200, i)
        pd.DataFrame(a, columns=list('xyz')).assign(time=np.arange(1200)/rate+i%2*100, subject=f'person {i//2}').to_csv(path/f'{i}.csv', index=False)
    return sorted(path.glob('*.csv'))

read = partial(csv_stretches, unit='g')
def converted(files, path, **kwargs): return convert(files, **{**dict(read=read, path=path, rate=20, chunk_seconds=10., progress=False), **kwargs})

def test_convert_equals_reading_and_appending(tmp_path):
    files = folder_of_csv(tmp_path/'csv')
    report = converted(files, tmp_path/'s', progress=True)
    assert report==dict(written=[str(f) for f in files], skipped=[], failed={})
    from tsai_relcon.data import resample
    with create_store(tmp_path/'t', 20, 10.) as w:
        for f in files:
            for who,start,a,native in read(f): w.append(resample(a, native, 20), who, start)
    assert same(tmp_path/'s', tmp_path/'t')

@pytest.mark.parametrize('backend', ['threading','loky'])
def test_jobs_do_not_matter(tmp_path, backend):
    files = folder_of_csv(tmp_path/'csv')
    converted(files, tmp_path/'one')
    with joblib.parallel_config(backend=backend, n_jobs=2): converted(files, tmp_path/'two', files_a_job=1)
    assert same(tmp_path/'one', tmp_path/'two')

def test_broken_files_are_named_and_tried_again(tmp_path):
    files = folder_of_csv(tmp_path/'csv')
    whole = {f: f.read_text() for f in (files[2], files[5])}
    files[2].write_text('a,b\n1,2\n'); files[5].unlink()
    with pytest.warns(DataWarning, match=r"2 files could not be read.*2.csv \(ValueError.*lacks the column.*5.csv \(ValueError.*no CSV file"): report = converted(files, tmp_path/'s')
    assert list(report['failed'])==[str(files[2]), str(files[5])] and len(report['written'])==7 and _load_index(tmp_path/'s')['failed']==report['failed']
    with pytest.warns(DataWarning, match='2 files could not be read'): again = converted(files, tmp_path/'s')
    assert again['failed']==report['failed'] and again['skipped']==report['written'] and not again['written']
    for f,text in whole.items(): f.write_text(text)
    assert converted(files, tmp_path/'s')['written']==[str(f) for f in whole] and _load_index(tmp_path/'s')['failed']=={}
    converted([*[f for f in files if f not in whole], *whole], tmp_path/'other order')
    assert same(tmp_path/'s', tmp_path/'other order')
    files[2].write_text('a,b\n1,2\n')
    with pytest.raises(ValueError, match='`files`.*2.csv.*lacks the column'): converted(files, tmp_path/'t', errors='raise')
    assert _load_index(tmp_path/'t')['done']==[str(f) for f in files[:2]]

def bad(file): yield 'ann', 0., walk(100), 20; raise OSError('the disk is gone')
def wrong_unit(file): return [('ann', 0., walk(100)*9.81, 20)]
def not_four(file): return [('ann', walk(100))]
def nobody(file): return [(None, 0., walk(100), 20)]
def nothing(file): return []
def no_rate(file): return [('ann', 0., walk(100), 0)]

@pytest.mark.parametrize('read,says', [(bad, 'OSError: the disk is gone'), (wrong_unit, 'ms2_to_g'), (not_four, 'ValueError'), (nobody, '`subject`'), (nothing, 'no recording'), (no_rate, '`native rate`')])
def test_a_file_goes_in_whole_or_not_at_all(tmp_path, read, says):
    with pytest.warns(DataWarning, match=says): report = converted(['a'], tmp_path/'s', read=read)
    assert list(report['failed'])==['a'] and not len(_load_index(tmp_path/'s')['offset'])

killer = """import sys
    from test_store import *
    StoreWriter._flush_if_due = StoreWriter.flush if sys.argv[3]=='often' else lambda self: None
    files, n = sorted(Path(sys.argv[1]).glob('*.csv')), []
    def deadly(f):
        n.append(f)
        if len(n)==int(sys.argv[4]): os.kill(os.getpid(), signal.SIGKILL)
        return read(f)
    converted(files, sys.argv[2], read=deadly)"""

@pytest.mark.parametrize('flushed,done', [('often',7), ('never',0)])
def test_killed_and_called_again_gives_the_same_store(tmp_path, flushed, done):
    files = folder_of_csv(tmp_path/'csv')
    converted(files, tmp_path/'whole')
    for at in (6, 3): run(killer, tmp_path/'csv', tmp_path/'s', flushed, at, returns=-signal.SIGKILL)
    report = converted(files, tmp_path/'s')
    assert (len(report['skipped']), len(report['written']))==(done, 9-done)
    assert same(tmp_path/'s', tmp_path/'whole')

def test_killed_while_a_file_is_half_written(tmp_path):
    "The samples of a person's second recording are down, its file is not in the index"
    files = folder_of_csv(tmp_path/'csv')
    converted(files, tmp_path/'whole')
    run("""import os, signal, sys
        from test_store import *
        n, save, StoreWriter._flush_if_due = [], StoreWriter._save_chunk, StoreWriter.flush
        def deadly(self):
            save(self); n.append(1)
            if len(n)==12: os.kill(os.getpid(), signal.SIGKILL)
        StoreWriter._save_chunk = deadly
        converted(sorted(Path(sys.argv[1]).glob('*.csv')), sys.argv[2])""", tmp_path/'csv', tmp_path/'s', returns=-signal.SIGKILL)
    assert 0<len(converted(files, tmp_path/'s')['skipped'])<9 and same(tmp_path/'s', tmp_path/'whole')

def test_interrupted_keeps_the_files_that_are_done(tmp_path):
    files, n = folder_of_csv(tmp_path/'csv'), []
    def impatient(f):
        n.append(f)
        if len(n)==5: raise KeyboardInterrupt
        return read(f)
    with pytest.raises(KeyboardInterrupt): converted(files, tmp_path/'s', read=impatient)
    assert len(converted(files, tmp_path/'s')['skipped'])==4
    converted(files, tmp_path/'whole')
    assert same(tmp_path/'s', tmp_path/'whole')

@pytest.mark.parametrize('change,says', [(dict(rate=40), '`rate`.*made with 20'), (dict(chunk_seconds=20), '`chunk_seconds`.*made with 10'), (dict(dtype='float32'), "`dtype`.*made with 'float16'")])
def test_going_on_otherwise_is_refused(tmp_path, change, says):
    files = folder_of_csv(tmp_path/'csv', 2)
    converted(files[:1], tmp_path/'s')
    with pytest.raises(ValueError, match=says) as held: converted(files, tmp_path/'s', **change)
    assert held and len(converted(files, tmp_path/'s')['skipped'])==1                    # no lock was left

@pytest.mark.parametrize('change,says', [(dict(files='a.csv'), '`files`'), (dict(files=[]), '`files` is empty'), (dict(files=['a','a']), '`files` names 1'), (dict(read='g'), '`read`'), (dict(flat='drop'), '`flat`'),
                                         (dict(errors='ignore'), '`errors`'), (dict(files_a_job=0), '`files_a_job`'), (dict(rate=-1), '`rate`'), (dict(dtype='f8'), '`dtype`')])
def test_bad_arguments_of_convert(tmp_path, change, says):
    with pytest.raises(ValueError, match=says): converted(**{**dict(files=['a'], path=tmp_path/'s'), **change})
    assert not (tmp_path/'s').exists()

def test_convert_tells_what_looks_wrong(tmp_path):
    def stands_still(f): return [('ann', 0., stuck(), 20)]
    with pytest.warns(DataWarning, match='0.000833 hours of 1 files are left out'): converted(['a'], tmp_path/'flat', read=stands_still)
    with pytest.warns(DataWarning, match="does not change"): assert 'a' in converted(['a'], tmp_path/'flat2', read=stands_still, flat='error')['failed']
    def light(f): return [('ann', 0., walk(400)/9.81, 20)]
    with pytest.warns(DataWarning, match='1 files have a median magnitude below 0.3 g'): converted(['a'], tmp_path/'light', read=light)
    def from_zero(f): return [('ann', 0., walk(400), 20)]
    with pytest.warns(DataWarning, match='overlap in time, for 1 people .ann.*None for the start'): converted(['a','b'], tmp_path/'clocks', read=from_zero)

def test_sensors_are_off_at_their_own_rate(tmp_path):
    "A stuck stretch at 40 Hz that a filter would make wavy at 50 Hz"
    def read(f): return [('ann', 0., stuck(2000, 1000, 1400), 40)]
    with pytest.warns(DataWarning, match='left out'): converted(['a'], tmp_path/'s', read=read, rate=50)
    s = open_store(tmp_path/'s', 50)
    assert s.time_of(slice(None)).max()+1<=50 and not ((s.time_of(slice(None))>24.1) & (s.time_of(slice(None))<35)).any() and len(s)==pytest.approx(40, abs=3)

def test_csv_as_from_csv_reads_it(tmp_path):
    files = folder_of_csv(tmp_path/'csv', 6)
    table = pd.read_csv(files[0]); table = table[(table.time<10) | (table.time>12)]; table.to_csv(files[0], index=False)        # a gap
    converted(files, tmp_path/'s', rate=40, chunk_seconds=3600., dtype='float32')
    s, segs = open_store(tmp_path/'s', 64)[:], from_csv(tmp_path/'csv', unit='g', length=64, label=None)
    assert len(s)==len(segs) and np.array_equal(s.X, segs.X) and np.array_equal(s.subject, segs.subject) and np.allclose(s.time, segs.time)

def test_csv_columns_units_and_errors(tmp_path):
    f = folder_of_csv(tmp_path/'csv', 1)[0]
    table = pd.read_csv(f).rename(columns=dict(x='ax',y='ay',z='az',time='t'))
    table[['ax','ay','az']] *= 9.80665; table['t'] *= 1000
    table.drop(columns='subject').to_csv(tmp_path/'other.csv', index=False, sep=';')
    (who,start,a,rate), = pickle.loads(pickle.dumps(partial(csv_stretches, unit='m/s2', time='t', axes=('ax','ay','az'), subject=os.path.basename, time_unit='ms', sep=';')))(tmp_path/'other.csv')
    assert (who, start, rate)==('other.csv', 0, 40) and np.allclose(a, walk(1200))
    for change,says in [(dict(unit='G'), '`unit`'), (dict(path=tmp_path), 'is a folder'), (dict(path=tmp_path/'none.csv'), 'no CSV file'), (dict(time='t'), 'lacks the column'), (dict(max_gap=0), '`max_gap`'), (dict(max_gap=.01), 'subject person 0.*max_gap')]:
        with pytest.raises(ValueError, match=says): csv_stretches(**{**dict(path=f, unit='g'), **change})

def test_npz_as_from_npz_reads_it(tmp_path):
    offsets = np.array([0,700,1500,1900])
    np.savez(tmp_path/'a.npz', acc=walk(1900).astype(np.float32), offsets=offsets, rec=np.array(list('abc')), subject=np.array(['ann','ann','ben']), place=np.array(['wrist','hip','wrist']), fs=np.float64(20),
             label=np.zeros(1900, int), label_names=np.array(['walk']))
    converted([tmp_path/'a.npz'], tmp_path/'s', read=partial(npz_stretches, place='wrist'), chunk_seconds=3600., dtype='float32')
    s, segs = open_store(tmp_path/'s', 64)[:], from_npz(tmp_path/'a.npz', length=64, place='wrist', cut='unlabelled')
    assert np.array_equal(s.X, segs.X) and np.array_equal(s.subject, segs.subject) and np.array_equal(s.time, segs.time)
    assert [(who, start, len(a)) for who,start,a,_ in npz_stretches(tmp_path/'a.npz')]==[('ann',None,700),('ann',None,800),('ben',None,400)]
    with pytest.raises(ValueError, match="`place` is 'ankle'.*'hip', 'wrist'"): npz_stretches(tmp_path/'a.npz', place='ankle')

# ---- a billion segments

def _sparse_store(path, n_subjects, hours_each, rate, chunk_seconds=3600.):
    "An index of recordings without a single chunk: zarr's zeros stand for their samples"
    create_store(path, rate, chunk_seconds).close()
    chunk, n = round(chunk_seconds*rate), round(hours_each*3600*rate)
    offset = np.arange(n_subjects, dtype=np.int64)*(-(-n//chunk)*chunk)
    zarr.create_array(store=str(Path(path)/'acc'), shape=(3, int(offset[-1])+n), chunks=(3, chunk), dtype='float16', fill_value=0, overwrite=True)
    who = np.arange(n_subjects)
    _save_index(Path(path), _load_index(path) | dict(offset=offset, length=np.full(n_subjects, n), start=who*.25, subject=who, source=who, subjects=[f'p{i:06d}' for i in who], sources=[f'{i}.csv' for i in who]))
    return path

def test_a_billion_segments_open_in_seconds_and_little_memory(tmp_path):
    out = json.loads(run("""import json, resource, sys, time
        import numpy as np
        from test_store import _sparse_store
        from tsai_relcon.store import open_store
        _sparse_store(sys.argv[1], 87_376, 8.15, 100.)
        began = time.monotonic()
        s = open_store(sys.argv[1]); opened = time.monotonic()-began
        g = s.groups(); grouped = time.monotonic()-began
        shapes = {g.read(int(i)).shape for i in np.random.default_rng(0).integers(0, len(g), 64)}
        read = time.monotonic()-began
        last, times = s.subject_of(-1)[0], s.time_of([0, len(s)-1]).tolist()
        print(json.dumps(dict(n=len(s), groups=len(g), sizes=sorted(set(g.size.tolist())), shapes=sorted(shapes), subjects=len(s.subjects), opened=opened, grouped=grouped, read=read, last=last, times=times,
                              gb=[int(l.split()[1])/2**20 for l in open('/proc/self/status') if l.startswith('VmHWM')][0])))""", tmp_path/'s'))
    rest = (int(8.15*3600*100)-8*360_000)//256
    assert out['n']==87_376*(8*1406+rest)>999e6 and out['groups']==87_376*9 and out['sizes']==[rest, 1406] and out['shapes']==[[rest,3,256],[1406,3,256]] and out['subjects']==87_376
    assert out['last']=='p087375' and out['times']==pytest.approx([0, 87_375*.25+8*3600+(rest-1)*2.56])
    assert out['read']<20 and out['gb']<1, out

def test_a_file_named_another_way_is_not_converted_twice(tmp_path, monkeypatch):
    read = lambda f: [('ann', None, np.random.default_rng(0).normal([0,0,1], .1, (400,3)), 50.)]
    (tmp_path/'f.csv').touch(); monkeypatch.chdir(tmp_path)
    reports = [convert([f], read, 'store', 50, progress=False) for f in ('f.csv', tmp_path/'f.csv', './f.csv')]
    assert [len(r['written']) for r in reports]==[1,0,0] and len(open_store('store', 100))==4
    with pytest.raises(ValueError, match='twice'): convert(['f.csv', './f.csv'], read, 'store', 50)

@pytest.mark.parametrize('harm, says', [(lambda f: f.unlink(), 'chunk 1 of .* is missing'), (lambda f: f.write_bytes(f.read_bytes()[:50]), 'chunk 1 of .* is damaged')])
def test_a_chunk_that_is_gone_or_cut_short_is_told_by_every_reader(tmp_path, harm, says):
    rng = np.random.default_rng(0)
    with create_store(tmp_path/'s', 50., chunk_seconds=20.) as writer:
        for who in 'abcd': writer.append(rng.normal([0,0,1], .1, (1000,3)), who)
    harm(tmp_path/'s'/'acc'/'c'/'0'/'1')
    store = open_store(tmp_path/'s', 50)
    assert len(store[:10]) and store.groups(20.).read(0).shape==(20,3,50)
    for read in (lambda: store[20:30], lambda: store.groups(20.).read(1), lambda: list(relcon_dls(store, n_groups=2, n_within=3, neighbourhood=20., splits=([0,1,2],[3]), seed=0).train)):
        with pytest.raises(ValueError, match=says): read()
