"Each reader on small files in its publisher's format, made here of real recordings; and on malformed ones"
import io, urllib.request, warnings, zipfile
from pathlib import Path
import numpy as np
import pandas as pd
import pytest
from tsai_relcon import datasets as ds
from tsai_relcon.datasets import hapt, hhar, mobgap, motionsense, opportunity, pamap2
from tsai_relcon.recordings import from_csv, from_npz, gait_from_npz, _layout, native_rate, regular_stretches

@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    "A reader never downloads"
    def refuse(*a, **k): raise AssertionError('a reader went to the network')
    monkeypatch.setattr(urllib.request, 'urlopen', refuse)

@pytest.fixture(scope='module')
def walk(segs):
    "20 s of one person's walking, (1000, 3) in g at 50 Hz"
    rows = np.flatnonzero((segs.labels=='wlk') & (segs.recording==segs.recording[np.flatnonzero(segs.labels=='wlk')[0]]))
    return np.concatenate(segs.X[rows], 1).T[:1000].astype(np.float64)

def put(folder, name, text):
    path = Path(folder)/name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path

def lines(rows): return '\n'.join(' '.join(f'{v:.7g}' if np.isfinite(v) else 'NaN' for v in r) for r in rows)+'\n'

def archive(folder, path):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as z:
        for f in sorted(folder.rglob('*')):
            if f.is_file(): z.write(f, f.relative_to(folder))
    return path

# time as it comes -----------------------------------------------------------------------------------------------------------------

def test_regular_stretches_against_a_plain_loop(walk):
    rng = np.random.default_rng(0)
    t = np.arange(1000)/50 + rng.uniform(-.005, .005, 1000)
    t[400:] += 3
    a = walk.copy(); a[100:103,1] = np.nan; a[700:760] = np.nan                      # three samples lost, more than a second lost
    parts = regular_stretches(t, a, 50)
    assert len(parts)==3
    for (start,x,rows), (i,j) in zip(parts, [(0,400),(400,700),(760,1000)]):
        ok = [k for k in range(i,j) if np.isfinite(a[k]).all()]
        assert start==t[ok[0]]
        for n in range(0, len(x), 37):
            now = start+n/50
            after = next(k for k in ok if t[k]>=now-1e-12); before = max([k for k in ok if t[k]<=now+1e-12])
            share = 0 if after==before else (now-t[before])/(t[after]-t[before])
            np.testing.assert_allclose(x[n], (1-share)*a[before]+share*a[after], atol=1e-9)
            assert abs(t[rows[n]]-now)==pytest.approx(min(abs(t[k]-now) for k in ok))
        assert abs(len(x)-(t[ok[-1]]-t[ok[0]])*50)<=1.01

def test_time_that_repeats_or_runs_backwards():
    t, a = np.array([0,.02,.02,.04]), np.arange(12.).reshape(4,3)
    with pytest.raises(ValueError, match='repeats itself in 1 of 4'): regular_stretches(t, a, 50)     # a quarter: two sensors, or a coarse clock
    t, a = np.r_[np.arange(20), 19, np.arange(20, 40)]/50, np.arange(123.).reshape(41,3)
    with pytest.warns(UserWarning, match='1 of 41 rows repeat'): (_,x,_), = regular_stretches(t, a, 50)
    np.testing.assert_allclose(x[19], a[19])
    with pytest.raises(ValueError, match='is its unit right'): regular_stretches(np.arange(5.), a[:5])
    for bad in (0, -1, np.nan, None, 'x'):
        with pytest.raises(ValueError, match='max_gap'): regular_stretches(t, a, 50, bad)
    t, a = np.array([0,.02,.02,.04]), np.arange(12.).reshape(4,3)
    with pytest.raises(ValueError, match='backwards at row 2'): regular_stretches([0,.02,.01], a[:3], 50)
    with pytest.raises(ValueError, match='shape'): regular_stretches([0,1], a)
    assert regular_stretches([0,1], np.full((2,3), np.nan))==[]
    with pytest.raises(ValueError, match='advance'): native_rate(np.zeros(3))

@pytest.mark.parametrize('rate', [20, 31.25, 32, 50, 51.2, 62.5, 100, 102.4])
def test_the_rate_is_told_from_rounded_jittered_and_lost_stamps(rate):
    rng = np.random.default_rng(0)
    t = np.arange(5000)/rate
    assert native_rate(t)==pytest.approx(rate, rel=1e-9)
    assert native_rate(np.round(t, 3))==pytest.approx(rate, rel=2e-3)
    assert native_rate((t+rng.uniform(-.2,.2,5000)/rate)[rng.random(5000)>.05])==pytest.approx(rate, rel=2e-3)

def test_a_regular_recording_is_not_smeared():
    t = np.arange(1024)/51.2
    a = np.sin(2*np.pi*20*t)[:,None]*[1,1,1]
    (_,x,_), = regular_stretches(t, a)
    np.testing.assert_allclose(x, a, atol=1e-6)

# PAMAP2 ---------------------------------------------------------------------------------------------------------------------------

def pamap2_rows(a, activity, t0=5.):
    "54 columns: time, activity, heart rate, three units of 17; the wrist unit holds `a`, the ankle's half of it"
    d = np.full((len(a), 54), 7.)
    d[:,0], d[:,1], d[:,2] = t0+np.arange(len(a))/100, activity, np.nan
    d[:,4:7], d[:,38:41] = a*9.80665, a*9.80665/2
    return d

@pytest.fixture
def pamap2_folder(tmp_path, walk):
    a = np.repeat(walk, 3, 0)[:3000]
    for s in (101,102):
        d = pamap2_rows(a, np.repeat([0,4,12], 1000))
        d[1200:1205,5] = np.nan                                                     # 50 ms lost: bridged
        put(tmp_path, f'set/PAMAP2_Dataset/Protocol/subject{s}.dat', lines(d))
    put(tmp_path, 'set/PAMAP2_Dataset/Optional/subject101.dat', 'not the protocol')
    return tmp_path/'set'

def test_pamap2(pamap2_folder, walk, tmp_path):
    segs = pamap2(pamap2_folder)
    assert segs.X.shape==(4,3,1000) and segs.rate==100 and list(segs.labels)==['walking','ascending stairs']*2 and set(segs.subject)=={'101','102'}
    np.testing.assert_allclose(segs.X[0,:,:200], np.clip(np.repeat(walk, 3, 0)[1000:1200].T, -3, 3), atol=2e-3)
    np.testing.assert_allclose(segs.time[:2], [15, 25], atol=.02)
    assert np.abs(segs.X).max()<=3 and len(np.unique(segs.recording))==4
    ankle = pamap2(pamap2_folder, place='ankle')
    assert ankle.X.shape==(20,3,200)
    np.testing.assert_allclose(ankle.X[0], np.repeat(walk, 3, 0)[1000:1200].T/2, atol=2e-3)
    assert pamap2(pamap2_folder, rate=50, labels=['walking']).X.shape==(2,3,500)
    inner = archive(pamap2_folder, tmp_path/'PAMAP2_Dataset.zip')
    with zipfile.ZipFile(tmp_path/'uci.zip', 'w') as z: z.write(inner, 'PAMAP2_Dataset.zip'); z.writestr('readme.pdf', 'x')
    np.testing.assert_array_equal(pamap2(tmp_path/'uci.zip').X, segs.X)

def test_pamap2_malformed(pamap2_folder, tmp_path):
    f = pamap2_folder/'PAMAP2_Dataset/Protocol/subject102.dat'
    good = f.read_text()
    f.write_text('\n'.join(' '.join(l.split()[:40]) for l in good.splitlines()))
    with pytest.raises(ValueError, match='subject102.dat has 40 columns; wanted 54'): pamap2(pamap2_folder)
    f.write_text(good.replace('5.01 ', 'oops ', 1))
    with pytest.raises(ValueError, match='subject102.dat.*no number'): pamap2(pamap2_folder)
    f.write_text('')
    with pytest.raises(ValueError, match='0 columns'): pamap2(pamap2_folder)
    f.write_text(good.rstrip()[:-200])
    with pytest.raises(ValueError, match='columns in its last row; wanted 54'): pamap2(pamap2_folder)      # cut off
    f.write_text(good)
    put(pamap2_folder, 'copy/Protocol/subject101.dat', good)
    with pytest.raises(ValueError, match='same file twice'): pamap2(pamap2_folder)
    (pamap2_folder/'copy/Protocol/subject101.dat').unlink()
    f.write_text(good)
    for says,kw in [('place', dict(place='hip')), ('labels', dict(labels=['flying'])), ('rate', dict(rate=0)), ('length', dict(length=10_000)), ('length', dict(length=10.5)), ('clip', dict(clip=-1)), ('max_gap', dict(max_gap=float('nan'))), ('labels', dict(labels='walking')), ('path', dict(labels=['rope jumping']))]:
        with pytest.raises(ValueError, match=f'`{says}`'): pamap2(pamap2_folder, **kw)
    with pytest.raises(ValueError, match='Protocol/subject101.dat'): pamap2(tmp_path/'set/PAMAP2_Dataset/Optional')
    half = archive(pamap2_folder, tmp_path/'x.zip').read_bytes()
    (tmp_path/'x.zip').write_bytes(half[:len(half)//2])
    with pytest.raises(ValueError, match='not a whole zip'): pamap2(tmp_path/'x.zip')

def test_short_stretches_are_counted_not_hidden(pamap2_folder):
    with pytest.warns(UserWarning, match='5 of 6 stretches'):
        f = pamap2_folder/'PAMAP2_Dataset/Protocol/subject101.dat'
        f.write_text('\n'.join(f.read_text().splitlines()[:2500])+'\n')
        segs = pamap2(pamap2_folder, length=1000, max_gap=.03)                      # the lost samples now split
    assert len(segs)>0

# Opportunity ----------------------------------------------------------------------------------------------------------------------

def opportunity_rows(a, code):
    d = np.full((len(a), 250), 3.)
    d[:,0] = np.arange(len(a))*33.333
    d[:,63:66], d[:,22:25] = np.round(a*1000), np.nan
    d[:,243] = code
    return d

def test_opportunity(tmp_path, walk):
    t30 = np.arange(900)/30
    a = np.stack([np.sin(2*np.pi*2*t30), .1*np.cos(2*np.pi*3*t30), 1+.05*np.sin(2*np.pi*t30)], 1)
    for name in ('S1-ADL1','S1-Drill','S2-ADL1'): put(tmp_path, f'OpportunityUCIDataset/dataset/{name}.dat', lines(opportunity_rows(a, np.repeat([1,0,2], 300))))
    segs = opportunity(tmp_path, length=900, overlap=0)
    assert segs.rate==100 and segs.X.shape[1:]==(3,900) and sorted(set(segs.labels))==['stand','walk'] and set(segs.subject)=={'S1','S2'}
    t = np.arange(900)/100                                                           # 30 Hz made 100 properly: a sine of 2 Hz stays one of 2 Hz
    assert np.abs(segs.X[0,0,50:-50]-np.sin(2*np.pi*2*t)[50:-50]).max()<.03
    of_1 = np.sort(segs.time[segs.subject=='S1'])
    assert (np.diff(of_1)>8.9).all()                                                 # a person's files do not overlap in time
    assert np.abs(opportunity(tmp_path, length=900, overlap=0, clip=1.).X).max()<=1             # clipped after the filter, which rings
    for sensor,first in [('LLA',89),('LWR',31)]:
        d = opportunity_rows(a, 1); d[:,63:66], d[:,first:first+3] = 0, a*1000
        put(tmp_path, f'{sensor}/S1-ADL1.dat', lines(d))
        assert np.abs(opportunity(tmp_path/sensor, sensor=sensor, length=900).X[0,0,50:-50]-np.sin(2*np.pi*2*t)[50:-50]).max()<.03
        (tmp_path/f'{sensor}/S1-ADL1.dat').unlink()
    with pytest.raises(ValueError, match='sensor'): opportunity(tmp_path, sensor='HEAD')
    with pytest.raises(ValueError, match='nothing to cut'): opportunity(tmp_path, sensor='RWR')          # nothing but NaN there
    put(tmp_path, 'OpportunityUCIDataset/dataset/S2-ADL1.dat', lines(opportunity_rows(a, 1)[:,:249]))
    with pytest.raises(ValueError, match='249 columns; wanted 250'): opportunity(tmp_path)

# HHAR -----------------------------------------------------------------------------------------------------------------------------

def hhar_table(a, user, device, rate, t0, gt):
    n, ns = len(a), (np.arange(len(a))*1e9/rate).astype('int64')
    return pd.DataFrame(dict(Index=np.arange(n), Arrival_Time=1424696633908+t0*1000+ns//10**6, Creation_Time=27920678471000+ns, x=a[:,0]*9.80665, y=a[:,1]*9.80665, z=a[:,2]*9.80665,
                             User=user, Model=device.split('_')[0], Device=device, gt=gt))

def test_hhar(tmp_path, walk):
    fast = np.repeat(walk, 4, 0)                                                     # 20 s at 200 Hz
    slow = np.repeat(walk, 2, 0)
    table = pd.concat([hhar_table(fast, 'a', 'lgwatch_1', 200, 0, np.repeat(['walk','null','sit','stairsup'], 1000)), hhar_table(slow, 'a', 'gear_1', 100, 0, 'walk'), hhar_table(slow, 'b', 'gear_1', 100, 60, 'bike')])
    table.iloc[[10,11]] = table.iloc[[11,10]].to_numpy()                             # out of order, as they come
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as z: z.writestr('Activity recognition exp/Watch_accelerometer.csv', table.to_csv(index=False))
    with zipfile.ZipFile(tmp_path/'hhar.zip', 'w') as z: z.writestr('Activity recognition exp.zip', buffer.getvalue())
    segs = hhar(tmp_path/'hhar.zip')
    assert segs.X.shape[1:]==(3,200) and segs.rate==100 and set(segs.labels)=={'walk','sit','stairsup','bike'} and set(segs.subject)=={'a','b'}
    first = segs[(segs.subject=='a') & (segs.labels=='walk')]
    np.testing.assert_allclose(first.X[0][:,20:-20:2], walk[:100].T[:,10:-10], atol=.35)               # 200 Hz made 100: every other sample, but for the filter
    assert first.X[0].mean(1)==pytest.approx(walk[:100].mean(0), abs=.02)
    assert segs.time[segs.subject=='b'].min()==pytest.approx(60, abs=.1)
    assert len(segs[segs.subject=='b'])==10
    late = hhar_table(slow, 'b', 'gear_1', 100, 3600, 'bike').assign(Creation_Time=lambda d: d.Creation_Time-10**9)       # an hour later, its clock started anew
    put(tmp_path, 'w/Watch_accelerometer.csv', pd.concat([table, late]).to_csv(index=False))
    again = hhar(tmp_path/'w')
    t = again.time[again.subject=='b']
    assert len(t)==20 and t.min()==pytest.approx(60, abs=.1) and t[t>1000].min()==pytest.approx(3600, abs=.1)      # two sessions, not one made of both
    put(tmp_path, 'x/Watch_accelerometer.csv', table.drop(columns='gt').to_csv(index=False))
    with pytest.raises(ValueError, match='gt'): hhar(tmp_path/'x')
    put(tmp_path, 'y/Watch_accelerometer.csv', table.to_csv(index=False).replace('lgwatch', 'lgwatch', 1)+'1,2,three,4\n')
    with pytest.raises(ValueError, match='HHAR'): hhar(tmp_path/'y')
    with pytest.raises(ValueError, match='no Watch_accelerometer'): hhar(put(tmp_path, 'z/a.txt', '').parent)

# MotionSense ----------------------------------------------------------------------------------------------------------------------

def motionsense_csv(a):
    "DeviceMotion with the sign of iOS: gravity and what the user adds"
    g = np.broadcast_to(-a.mean(0), a.shape)
    d = pd.DataFrame(np.c_[np.zeros((len(a),3)), g, np.zeros((len(a),3)), -a-g], columns=[f'attitude.{k}' for k in ('roll','pitch','yaw')]+[f'gravity.{i}' for i in 'xyz']+[f'rotationRate.{i}' for i in 'xyz']+[f'userAcceleration.{i}' for i in 'xyz'])
    return d.to_csv()

def test_motionsense_from_the_publishers_zip(tmp_path, walk):
    for trial,sub in [('wlk_7','1'),('wlk_15','1'),('dws_1','1'),('jog_9','12')]: put(tmp_path, f'set/A_DeviceMotion_data/{trial}/sub_{sub}.csv', motionsense_csv(walk))
    put(tmp_path, 'set/__MACOSX/A_DeviceMotion_data/wlk_7/._sub_1.csv', 'junk'); put(tmp_path, 'set/A_DeviceMotion_data/.DS_Store', 'junk')
    segs = motionsense(path=archive(tmp_path/'set', tmp_path/'A_DeviceMotion_data.zip'))
    assert segs.X.shape==(28,3,128) and set(segs.subject)=={'01','12'} and list(dict.fromkeys(segs.labels))==['dws','wlk','jog']
    np.testing.assert_allclose(segs.X[0], walk[:128].T, atol=1e-5)
    put(tmp_path, 'bad/wlk_7/sub_1.csv', motionsense_csv(walk).replace('gravity.x', 'gx'))
    with pytest.raises(ValueError, match="sub_1.csv lacks the column 'gravity.x'"): motionsense(path=tmp_path/'bad')
    put(tmp_path, 'bad/wlk_7/sub_1.csv', '')
    with pytest.raises(ValueError, match='empty'): motionsense(path=tmp_path/'bad')
    put(tmp_path, 'bad/wlk_7/sub_1.csv', motionsense_csv(np.where(np.arange(1000)[:,None]==5, np.nan, walk)))
    with pytest.raises(ValueError, match='NaN'): motionsense(path=tmp_path/'bad')
    with pytest.raises(ValueError, match='A_DeviceMotion_data.zip'): motionsense(path=put(tmp_path, 'none/a.csv', '').parent)

# HAPT -----------------------------------------------------------------------------------------------------------------------------

def hapt_folder(folder, walk, labels='1 1 5 1 256\n1 1 7 257 400\n1 1 4 401 1000\n2 1 1 1 500\n3 2 6 101 1000\n'):
    for e,u in [(1,1),(2,1),(3,2)]: put(folder, f'RawData/acc_exp{e:02d}_user{u:02d}.txt', lines(walk)); put(folder, f'RawData/gyro_exp{e:02d}_user{u:02d}.txt', lines(walk))
    put(folder, 'RawData/labels.txt', labels)
    return folder

def test_hapt(tmp_path, walk):
    segs = hapt(hapt_folder(tmp_path, walk))
    assert list(segs.labels)==['standing']*2+['sitting']*4+['walking']*3+['laying']*7 and list(segs.subject)==['01']*9+['02']*7
    np.testing.assert_allclose(segs.X[2], walk[400:528].T, atol=1e-5)                # samples are counted from 1
    np.testing.assert_allclose(segs.time[[0,2,6]], [0, 8, 20])                         # experiments end to end
    for wrong,says in [('9 9 5 1 256\n','experiment 9 of user 9'), ('1 2 5 1 256\n','experiment 1 of user 2'), ('1 1 1.7 1 256\n','no whole number'), ('1 1 NaN 1 256\n','no whole number')]:
        with pytest.raises(ValueError, match=says): hapt(hapt_folder(tmp_path, walk, wrong))
    hapt_folder(tmp_path, walk)
    assert list(np.unique(hapt(tmp_path, labels=['stand_to_sit'], length=64).labels))==['stand_to_sit']
    hapt_folder(tmp_path, walk, '1 1 5 1 1256\n')
    with pytest.raises(ValueError, match='1 to 1256 of RawData/acc_exp01_user01.txt, which has 1000'): hapt(tmp_path)
    hapt_folder(tmp_path, walk, '1 1 5 1\n')
    with pytest.raises(ValueError, match='4 columns; wanted 5'): hapt(tmp_path)
    (tmp_path/'RawData/labels.txt').unlink()
    with pytest.raises(ValueError, match='labels.txt'): hapt(tmp_path)

# CSV ------------------------------------------------------------------------------------------------------------------------------

def table_of(walk, label='walk', **kw): return pd.DataFrame(dict(time=np.arange(len(walk))/50, x=walk[:,0], y=walk[:,1], z=walk[:,2], subject='ann', label=label) | kw)

def save(table, path): path.parent.mkdir(parents=True, exist_ok=True); table.to_csv(path, index=False); return path

def test_csv_gives_back_what_went_in(tmp_path, walk):
    a, b = table_of(walk), table_of(walk, subject='ben', label=np.repeat(['sit','walk'], 500))
    segs = from_csv(save(pd.concat([a,b]), tmp_path/'all.csv'), 'g')
    assert segs.rate==50 and list(segs.subject)==['ann']*7+['ben']*6 and list(segs.labels)==['walk']*7+['sit']*3+['walk']*3
    np.testing.assert_allclose(segs.X[0], walk[:128].T, atol=1e-5)
    for unit,scale in [('m/s2',9.80665), ('mg',1000), (512,512)]:
        np.testing.assert_allclose(from_csv(save(a.assign(**{i: a[i]*scale for i in 'xyz'}), tmp_path/'u.csv'), unit).X, segs.X[:7], atol=1e-4)
    for unit,scale in [('ms',1e3), ('us',1e6), ('ns',1e9)]:
        np.testing.assert_allclose(from_csv(save(a.assign(time=((a.time+1.6e9)*scale).round().astype('int64')), tmp_path/'u.csv'), 'g', time_unit=unit).X, segs.X[:7], atol=1e-3)
    dates = pd.Timestamp('2026-03-01 10:00:00')+pd.to_timedelta(a.time, 's')
    np.testing.assert_allclose(from_csv(save(a.assign(time=dates), tmp_path/'u.csv'), 'g', time_unit='date').X, segs.X[:7], atol=1e-3)
    assert from_csv(tmp_path/'all.csv', 'g', rate=100).X.shape==(13,3,256)
    assert from_csv(tmp_path/'all.csv', 'g', label=None).labels is None
    named = from_csv(save(a.rename(columns=dict(time='t', x='ax', y='ay', z='az', subject='who', label='what')), tmp_path/'n.csv'), 'g', time='t', axes=('ax','ay','az'), subject='who', label='what')
    np.testing.assert_array_equal(named.X, segs.X[:7])

def test_csv_irregular_stamps_and_gaps(tmp_path, walk):
    rng = np.random.default_rng(0)
    jitter = table_of(walk).assign(time=np.arange(1000)/50+rng.uniform(-.003,.003,1000))
    whole = from_csv(save(jitter, tmp_path/'j.csv'), 'g')
    assert whole.rate==50 and np.abs(whole.X-from_csv(save(table_of(walk), tmp_path/'r.csv'), 'g').X[:len(whole)]).mean()<.05
    gap = jitter.drop(range(450, 550))
    segs = from_csv(save(gap, tmp_path/'g.csv'), 'g')
    assert len(segs)==6 and len(np.unique(segs.recording))==2 and not ((segs.time<9) & (segs.time+2.56>11)).any()
    lost = jitter.copy(); lost.loc[450:549,'y'] = np.nan
    whole_g = from_csv(save(table_of(walk).assign(time=np.floor(np.arange(1000)/50*1000)/1000), tmp_path/'ms.csv'), 'g')
    assert whole_g.rate==50
    with pytest.raises(ValueError, match='repeats itself'): from_csv(save(table_of(walk).assign(time=np.floor(np.arange(1000)/5)/10), tmp_path/'coarse.csv'), 'g')
    with pytest.raises(ValueError, match='unit right'): from_csv(save(table_of(walk).assign(time=np.arange(1000)*20.), tmp_path/'milli.csv'), 'g')
    with pytest.warns(UserWarning, match='100 rows'): np.testing.assert_allclose(from_csv(save(lost, tmp_path/'n.csv'), 'g').X, segs.X)

def test_csv_folders_and_names_from_paths(tmp_path, walk):
    for who in ('ann','ben'):
        for what in ('walk','run'): save(table_of(walk).drop(columns=['subject','label']), tmp_path/f'{who}/{what}.csv')
    segs = from_csv(tmp_path, 'g', subject=lambda f: f.parent.name, label=lambda f: f.stem)
    assert len(segs)==28 and set(zip(segs.subject, segs.labels))=={(w,l) for w in ('ann','ben') for l in ('walk','run')}

def test_names_are_text_and_stay_the_same_from_file_to_file(tmp_path, walk):
    save(table_of(walk, subject='01', label='1'), tmp_path/'f/a.csv')
    save(pd.concat([table_of(walk, subject='01', label='null'), table_of(walk, subject='x1', label='1')]), tmp_path/'f/b.csv')
    with pytest.warns(UserWarning, match='overlap in time'): segs = from_csv(tmp_path/'f', 'g')          # two files of 01, each from 0
    assert set(segs.subject)=={'01','x1'} and set(segs.labels)=={'1','null'}

def test_what_is_left_out_is_counted(tmp_path, walk):
    t = table_of(walk); t.loc[:4,'x'] = np.inf; t.loc[995:,'time'] = np.nan
    with pytest.warns(UserWarning, match='10 rows'): from_csv(save(t, tmp_path/'i.csv'), 'g')
    t = table_of(walk); t.loc[:499,'label'] = None
    with pytest.warns(UserWarning, match='500 rows.*no label'): assert len(from_csv(save(t, tmp_path/'l.csv'), 'g'))==3
    with pytest.warns(UserWarning, match='is `unit` right'): from_csv(save(table_of(walk), tmp_path/'u.csv'), 'm/s2')

def test_csv_malformed(tmp_path, walk):
    good = table_of(walk)
    def fails(table, says, **kw):
        with pytest.raises(ValueError, match=says): from_csv(save(table, tmp_path/'bad.csv'), **{'unit': 'g', **kw})
    fails(good.drop(columns='z'), "bad.csv lacks the column 'z'")
    fails(good.drop(columns='label'), 'label=None')
    fails(good.assign(x=['high']+[1.]*999), "holds 'high' in the column 'x' .row 0")
    fails(good.assign(recording=['a']*500+[None]*500), 'no recording in 500', recording='recording')
    fails(good, '`axes`', axes=('x','x','z')); fails(good, '`subject`', subject=None); fails(good, '`subject`', subject=lambda f: None)
    (tmp_path/'bad.csv').write_text(good.rename(columns=dict(y='x')).to_csv(index=False))
    with pytest.raises(ValueError, match="lacks the column 'y'|2 columns named"): from_csv(tmp_path/'bad.csv', 'g')
    (tmp_path/'bad.csv').write_text(good.assign(x2=1.).rename(columns=dict(x2='x')).to_csv(index=False))
    with pytest.raises(ValueError, match="2 columns named 'x'"): from_csv(tmp_path/'bad.csv', 'g')
    for bad in (2.5, '128', 1, True, float('nan')): fails(good, '`length`', length=bad)
    for bad in (0, -1, 'x', True, float('nan')): fails(good, '`rate`', rate=bad)
    fails(good.assign(time='noon'), "time_unit='date'")
    fails(good.assign(time='noon'), 'no date', time_unit='date')
    fails(good.assign(time=good.time[::-1].to_numpy()), 'runs backwards')
    fails(good.assign(subject=[None]*5+['ann']*995), 'no subject in 5 rows')
    fails(good.assign(x=np.nan), 'nothing to cut')
    fails(good[:50], '`length`')
    fails(good[:0], 'no sample')
    fails(good.assign(x=good.x*9.81, y=good.y*9.81, z=good.z*9.81), 'median magnitude')
    for unit in ('gravities', 0, -1, float('nan'), None, True, [256]): fails(good, '`unit`', unit=unit)
    fails(good, '`time_unit`', time_unit='h'); fails(good, '`axes`', axes=('x','y'))
    (tmp_path/'bad.csv').write_bytes(b'\xff\xfe\x00\x01junk')
    with pytest.raises(ValueError, match='bad.csv'): from_csv(tmp_path/'bad.csv', 'g')
    (tmp_path/'bad.csv').write_text('')
    with pytest.raises(ValueError, match='bad.csv'): from_csv(tmp_path/'bad.csv', 'g')
    with pytest.raises(ValueError, match='no CSV file'): from_csv(tmp_path/'nowhere', 'g')
    with pytest.raises(TypeError): from_csv(tmp_path/'bad.csv')                      # a unit is named, never guessed

def test_a_stuck_sensor_is_counted_not_hidden(tmp_path, walk):
    stuck = walk.copy(); stuck[256:512] = stuck[256]
    with pytest.warns(UserWarning, match='2 windows'): assert len(from_csv(save(table_of(stuck), tmp_path/'s.csv'), 'g'))==5

# npz ------------------------------------------------------------------------------------------------------------------------------

def layout(walk, **kw):
    acc = np.concatenate([walk, walk[:600], walk]).astype(np.float16)
    label = np.r_[np.zeros(500), np.ones(500), -np.ones(600), np.ones(1000)].astype(np.int16)
    return dict(acc=acc, offsets=np.array([0,1000,1600,2600]), rec=np.array(['r0','r1','r2']), subject=np.array(['ann','ann','ben']), place=np.array(['wrist','wrist','hip']),
                label=label, label_names=np.array(['sit','walk']), fs=np.float64(50)) | kw

def test_npz(tmp_path, walk):
    np.savez(tmp_path/'some.npz', **layout(walk))
    segs = from_npz(tmp_path/'some.npz')
    assert list(segs.labels)==['sit']*3+['walk']*3+['walk']*7 and list(segs.subject)==['ann']*6+['ben']*7
    np.testing.assert_allclose(segs.X[0], walk[:128].T, atol=4e-3)
    assert set(from_npz(tmp_path/'some.npz', place='hip').subject)=={'ben'} and set(from_npz(tmp_path/'some.npz', labels=['sit']).labels)=={'sit'}
    assert len(from_npz(tmp_path/'some.npz', cut='recording'))==14 and len(from_npz(tmp_path/'some.npz', cut='unlabelled'))==18
    assert from_npz(tmp_path/'some.npz', rate=100, cut='recording').X.shape==(14,3,256)
    np.savez(tmp_path/'motionsense.npz', **layout(walk))                              # a set known to have the sign of iOS
    np.testing.assert_allclose(from_npz(tmp_path/'motionsense.npz').X, -segs.X)
    np.testing.assert_allclose(from_npz(tmp_path/'motionsense.npz', negate=False).X, segs.X)

def test_npz_malformed(tmp_path, walk):
    path = tmp_path/'bad.npz'
    def fails(says, arrays, **kw):
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=says): from_npz(path, **kw)
    fails("lacks the array 'fs'", {k: v for k,v in layout(walk).items() if k!='fs'})
    fails('offsets', layout(walk, offsets=np.array([0,1000,1600,9999])))
    fails('`place`', layout(walk), place='head'); fails('`labels`', layout(walk), labels=['fly']); fails('`cut`', layout(walk), cut='here')
    fails('`label`', layout(walk, label=layout(walk)['label']-1)); fails('`label`', layout(walk, label=np.full(2600, 2))); fails('`place`', layout(walk, place=np.array(['wrist'])))
    fails('`label_names`', layout(walk, label_names=np.array(['sit','sit']))); fails('`fs`', layout(walk, fs=np.array(0.))); fails('`acc`', layout(walk, acc=layout(walk)['acc'].astype(complex)))
    fails('NaN', layout(walk, acc=np.full((2600,3), np.nan)))
    fails('Python objects are not loaded', layout(walk, subject=np.array(['ann','ann',None], dtype=object)))         # a pickle: not opened
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match='bad.npz'): from_npz(path)
    with pytest.raises(ValueError, match='no file'): from_npz(tmp_path/'none.npz')

def test_gait_targets_are_means_over_the_strides_in_a_window():
    segs, targets = mobgap()
    with ds._bundled('mobgap') as path: d, *_ = _layout(path)
    rows = np.flatnonzero(d['target_source']=='INDIP')
    names = [r for r in range(9) if d['offsets'][r+1]-d['offsets'][r]>=256]
    for i in range(0, len(segs), 17):
        rec = names[segs.recording[i]]
        begun = [k for k in rows if d['target_rec'][k]==rec]
        # the segment's start in its recording: its samples are found there
        a = d['acc'][d['offsets'][rec]:d['offsets'][rec+1]].astype(np.float32)
        start = next(s for s in range(0, len(a)-255, 128) if np.array_equal(a[s:s+256].T, segs.X[i]))
        inside = [k for k in begun if start<=(d['target_start'][k]+d['target_end'][k])/2<start+256]
        assert inside and targets.speed_mps[i]==pytest.approx(np.nanmean([d['target_speed_mps'][k] for k in inside]))
    with pytest.raises(ValueError, match='source'): mobgap(source='GPS')

def test_gait_files(tmp_path, walk):
    np.savez(tmp_path/'a.npz', **layout(walk))
    with pytest.raises(ValueError, match='no strides'): gait_from_npz(tmp_path/'a.npz')
    strides = dict(target_rec=np.array([0,0,2]), target_start=np.array([10,60,10]), target_end=np.array([60,110,60]), target_stride_time_s=np.array([1.,1.2,.9]))
    np.savez(tmp_path/'a.npz', **layout(walk), **strides)
    segs, targets = gait_from_npz(tmp_path/'a.npz', overlap=0)
    assert list(segs.subject)==['ann','ben'] and list(targets.stride_time_s)==pytest.approx([1.1,.9])
    for wrong,says in [(dict(target_rec=np.array([0,0,9])), 'target_rec'), (dict(target_end=np.array([5,110,60])), 'do not lie'), (dict(target_end=np.array([60,110,9999])), 'do not lie'),
                       (dict(target_stride_time_s=np.array([1.,np.inf,1.])), 'infinite'), (dict(target_stride_time_s=np.array([1.])), 'target_stride_time_s')]:
        np.savez(tmp_path/'a.npz', **layout(walk), **{**strides, **wrong})
        with pytest.raises(ValueError, match=says): gait_from_npz(tmp_path/'a.npz')
    np.savez(tmp_path/'a.npz', **layout(walk), **strides)
    with pytest.raises(ValueError, match='`source`'): gait_from_npz(tmp_path/'a.npz', source='x')
    with pytest.raises(ValueError, match='`length`'): gait_from_npz(tmp_path/'a.npz', length=5000)
    with pytest.warns(UserWarning, match='1 of 3 stretches'): assert list(gait_from_npz(tmp_path/'a.npz', length=700)[0].subject)==['ann','ben']   # the short one is told
    np.savez(tmp_path/'a.npz', **layout(walk), **strides, target_source=np.array(['x','y','x']))
    with pytest.raises(ValueError, match='choose one'): gait_from_npz(tmp_path/'a.npz')
    assert list(gait_from_npz(tmp_path/'a.npz', overlap=0, source='x')[1].stride_time_s)==pytest.approx([1.,.9])
