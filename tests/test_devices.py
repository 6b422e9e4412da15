"""A device's file becomes a recording with clock and wear time.

The files are written here after the published formats: GENEActiv's text (59 lines of header, then pages of 300 samples in hexadecimal), Axivity's CWA (a header of 1,024 bytes, then blocks of 512 with 80 samples),
ActiGraph's GT3X (a zip of info.txt and of a log with a record a second)."""
import gzip, shutil, struct, sys, zipfile
from functools import partial, reduce
import numpy as np
import pandas as pd
import pytest
from tsai_relcon import devices
from tsai_relcon.batches import relcon_dls
from tsai_relcon.convert import convert
from tsai_relcon.core import DataWarning
from tsai_relcon.devices import DeviceRecording, device_files, device_stretches, from_devices, is_device_file, read_device
from tsai_relcon.learner import load_encoder
from tsai_relcon.store import open_store

start = pd.Timestamp('2026-03-02 08:00:00')
gain, offset = (25600, 25500, 25700), (120, -80, 40)
java = pytest.mark.skipif(shutil.which('java') is None, reason='actipy reads this format by Java')
pytestmark = pytest.mark.filterwarnings('ignore::tsai_relcon.core.DataWarning')

def write_geneactiv(path, a, rate=50, begins=start, cut=None):
    "(T, 3) in g as a GENEActiv file; T a multiple of 300"
    pages = len(a)//300
    head = ['Device Identity', 'Device Unique Serial Code:012345', 'Device Type:GENEActiv'] + [f'Line:{i}' for i in range(44)]
    for axis,g,o in zip('xyz', gain, offset): head += [f'{axis} gain:{g}', f'{axis} offset:{o}']
    head += ['Volts:300', 'Lux:800', '', 'Memory Status', f'Number of Pages:{pages}', '']
    assert len(head)==59
    raw = np.round((a*gain+offset)/100).astype(int).clip(-2048, 2047) & 0xfff
    lines = list(head)
    for p in range(pages):
        when = begins + pd.Timedelta(p*300/rate, unit='s')
        text = ''.join(f'{x:03x}{y:03x}{z:03x}000' for x,y,z in raw[p*300:(p+1)*300])
        lines += ['Recorded Data', 'Device Unique Serial Code:012345', f'Sequence Number:{p}', f"Page Time:{when:%Y-%m-%d %H:%M:%S}:{when.microsecond//1000:03d}", 'Unassigned:', 'Temperature:21.5', 'Battery voltage:3.9', 'Device Status:Recording', f'Measurement Frequency:{rate}.0', text]
    text = '\n'.join(lines)+'\n'
    path.write_text(text[:cut])
    return path

def write_axivity(path, a, rate=50, begins=start):
    "(T, 3) in g as the file of an Axivity AX3: 16 bits, 256 counts a g, +-8 g; T a multiple of 80"
    code = 0x40 | (15-int(np.log2(3200/rate)))
    blocks = [(struct.pack('<HHBHIHII', 0x444d, 1020, 0x17, 12345, 1, 0xffff, 0, 0) + bytes(13) + bytes([code])).ljust(1024, b'\xff')]
    for i in range(len(a)//80):
        whole, part = divmod(i*80, rate)                                       # the stamp is of whole seconds, and says at which sample it held
        t = begins+pd.Timedelta(whole, unit='s')
        stamp = (t.year-2000)<<26 | t.month<<22 | t.day<<17 | t.hour<<12 | t.minute<<6 | t.second
        block = struct.pack('<HHHIIIHHBBBBhH', 0x5841, 508, 0, 1, i, stamp, 0, 171, 0, 200, code, 0x32, -part, 80) + np.round(a[i*80:(i+1)*80]*256).astype('<i2').tobytes()
        blocks.append(block + struct.pack('<H', -int(np.frombuffer(block, '<u2').astype(int).sum()) & 0xffff))
    path.write_bytes(b''.join(blocks))
    return path

def write_actigraph(path, a, rate=50, begins=start, scale=256):
    "(T, 3) in g as an ActiGraph Link's file; whole seconds"
    n, epoch = len(a)//rate, int(begins.timestamp())
    ticks = [621355968000000000 + 10**7*(epoch+s) for s in (0, n)]                # of 100 ns since the year 1
    info = {'Serial Number': 'TAS1D12345', 'Device Type': 'Link', 'Firmware': '1.7.2', 'Battery Voltage': '4.1', 'Sample Rate': rate, 'Start Date': ticks[0], 'Stop Date': ticks[1], 'Last Sample Time': ticks[1],
            'TimeZone': '00:00:00', 'Download Date': ticks[1], 'Board Revision': 8, 'Unexpected Resets': 0, 'Acceleration Scale': f'{scale:.1f}', 'Acceleration Min': '-8.0', 'Acceleration Max': '8.0'}
    def record(i):
        body = struct.pack('<BBIH', 0x1e, 0x1a, epoch+i, rate*6) + np.round(a[i*rate:(i+1)*rate]*scale).astype('<i2').tobytes()
        return body + bytes([~reduce(int.__xor__, body) & 0xff])
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as z:
        z.writestr('info.txt', ''.join(f'{k}: {v}\n' for k,v in info.items()))
        z.writestr('log.bin', b''.join(map(record, range(n))))
    return path

@pytest.fixture(scope='session')
def moving(segs):
    "Twenty minutes of one person of MotionSense"
    return np.concatenate(segs.X[segs.subject==segs.subject[0]], 1).T[:20*60*50]

@pytest.fixture(scope='session')
def lying(segs):
    "A hundred minutes of a sensor that lies: MotionSense's stillest segment, again and again"
    still = segs.X[segs.X.std(2).max(1).argmin()].T
    assert still.std(0).max()<.015
    return np.tile(still, (100*60*50//len(still)+1, 1))[:100*60*50]

@pytest.fixture(scope='session')
def day(moving, lying): return np.concatenate([moving, lying, moving[::-1]])

@pytest.fixture(scope='session')
def bin_file(tmp_path_factory, day): return write_geneactiv(tmp_path_factory.mktemp('device')/'p01.bin', day)

@pytest.fixture(scope='session')
def csv_file(tmp_path_factory, day):
    path = tmp_path_factory.mktemp('device')/'p02.csv'
    pd.DataFrame(day*1000, columns=['ax','ay','az']).assign(when=(start+pd.to_timedelta(np.arange(len(day))/50, unit='s')).astype(str)).to_csv(path, index=False)
    return path
of_csv = dict(unit='mg', time='when', axes=('ax','ay','az'))

@java
def test_geneactiv_comes_back_with_clock_and_wear(bin_file, day, moving):
    r = read_device(bin_file, calibrate=False)
    assert r.subject=='p01' and r.rate==50 and len(r.samples)==len(day) and r.info['Device']=='GENEActiv'
    assert pd.to_datetime(r.time[0], unit='s')==start and r.hours==pytest.approx(len(day)/50/3600, rel=1e-4)
    still = ~r.worn
    assert 90<still.sum()/50/60<=101 and still[len(moving)+1000:-len(moving)-1000].all() and r.worn[:len(moving)-1000].all()      # to a window of 10 s or so
    np.testing.assert_allclose(r.samples[r.worn], day[r.worn], atol=.0041)                     # 12 bits
    assert f'{r.hours_worn:.3g} h worn' in repr(r)

@java
def test_nonwear_is_left_out_and_can_be_kept(bin_file, day, moving):
    r = read_device(bin_file)
    stretches = r.stretches()
    assert len(stretches)==2 and all(abs(len(a)-len(moving))<2000 for _,_,a,_ in stretches)
    assert stretches[1][1]-stretches[0][1]==pytest.approx(120*60, abs=45)                      # seconds
    s = r.segments(rate=50, length=128)
    assert set(s.subject)=={'p01'} and len(np.unique(s.recording))==2 and pd.to_datetime(s.time.min(), unit='s')>=start
    everything = read_device(bin_file, nonwear_minutes=None)
    assert everything.worn.all() and len(everything.stretches())==1
    assert read_device(bin_file, nonwear_minutes=150).worn.all()                               # the device lay for 100

@java
def test_packed_files_and_folders(bin_file, tmp_path):
    with open(bin_file,'rb') as f, gzip.open(tmp_path/'a.bin.gz', 'wb') as g: shutil.copyfileobj(f, g)
    (tmp_path/'deep').mkdir()
    with zipfile.ZipFile(tmp_path/'deep/b.bin.zip', 'w', zipfile.ZIP_DEFLATED) as z: z.write(bin_file, 'b.bin')
    (tmp_path/'notes.txt').write_text('no recording')
    assert [f.name for f in device_files(tmp_path)]==['a.bin.gz','b.bin.zip']
    s = from_devices(tmp_path, rate=50, length=128)
    assert set(s.subject)=={'a','b'} and (s.subject=='a').sum()==(s.subject=='b').sum()
    np.testing.assert_array_equal(s.X[s.subject=='a'], s.X[s.subject=='b'])

@java
def test_a_folder_of_devices_becomes_a_store_of_worn_time(bin_file, tmp_path):
    (tmp_path/'in').mkdir()
    for name in ('a','b'): shutil.copy(bin_file, tmp_path/f'in/{name}.bin')
    (tmp_path/'in/c.bin').write_text('this is no recording')
    report = convert(device_files(tmp_path/'in'), partial(device_stretches, calibrate=False), tmp_path/'store', rate=50, progress=False)
    assert len(report['written'])==2 and len(report['failed'])==1 and 'actipy cannot read' in next(iter(report['failed'].values()))
    store = open_store(tmp_path/'store', length=128)
    assert 2*2*900<len(store)*2.56<2*2*1200+60                                                # of each person twice twenty minutes, no more
    assert relcon_dls(store, n_groups=2, n_within=3).train.one_batch()[0].shape[1:]==(3,128)

@java
def test_axivity_comes_back_with_clock_and_wear(tmp_path, day, moving):
    a = day[:len(day)//80*80]
    r = read_device(write_axivity(tmp_path/'p03.cwa', a), calibrate=False)
    assert r.subject=='p03' and r.rate==50 and len(r.samples)==len(a) and (r.info['Device'], r.info['DeviceID'])==('Axivity', 12345)
    assert pd.to_datetime(r.time[0], unit='s')==start and np.abs(np.diff(r.time)-.02).max()<.0015     # actipy's clock wavers by a millisecond
    assert 90<(~r.worn).sum()/50/60<=101 and r.worn[:len(moving)-1000].all()
    np.testing.assert_allclose(r.samples[r.worn], a[r.worn], atol=.0021)
    assert len(r.stretches())==2
    broken = tmp_path/'cut.cwa'
    broken.write_bytes((tmp_path/'p03.cwa').read_bytes()[:100_000])
    assert 0<len(read_device(broken, calibrate=False, nonwear_minutes=None).samples)<len(a)

@java
def test_actigraph_comes_back_with_clock_and_wear(tmp_path, day, moving):
    a = day[:len(day)//50*50]
    r = read_device(write_actigraph(tmp_path/'p04.gt3x', a), calibrate=False)
    assert r.subject=='p04' and r.rate==50 and len(r.samples)==len(a) and (r.info['Device'], r.info['DeviceID'])==('Actigraph', 'TAS1D12345')
    assert pd.to_datetime(r.time[0], unit='s')==start and np.abs(np.diff(r.time)-.02).max()<1e-5
    assert 90<(~r.worn).sum()/50/60<=101 and len(r.stretches())==2
    np.testing.assert_allclose(r.samples[r.worn], a[r.worn], atol=.0026)              # actipy gives thousandths

def test_a_csv_file_of_dates(csv_file, day, moving):
    r = read_device(csv_file, **of_csv)
    assert r.subject=='p02' and r.rate==50 and pd.to_datetime(r.time[0], unit='s')==start
    assert 90<(~r.worn).sum()/50/60<=101
    np.testing.assert_allclose(r.samples[r.worn], day[r.worn], atol=1e-4)
    assert len(from_devices(csv_file, rate=50, length=128, **of_csv))==len(r.segments(50, 128))

@java
def test_both_ways_in_agree(bin_file, csv_file):
    a, b = read_device(bin_file, calibrate=False), read_device(csv_file, calibrate=False, **of_csv)
    assert np.mean(a.worn==b.worn)>.999
    both = a.worn & b.worn
    np.testing.assert_allclose(a.samples[both], b.samples[both], atol=.0041)

def test_gravity_is_calibrated(tmp_path, segs):
    "A device 5% off on one axis that lay in many orientations: its magnitude at rest comes back to 1 g"
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(150,3)); directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    noise = segs.X[segs.X.std(2).max(1).argsort()[:60]]
    noise = (noise-noise.mean(2, keepdims=True)).transpose(0,2,1).reshape(-1,3)               # a real sensor's, at rest
    a = np.repeat(directions, 20*50, 0)*[1.05,1,1]
    a += np.resize(noise, a.shape)
    pd.DataFrame(a, columns=['x','y','z']).assign(time=(start+pd.to_timedelta(np.arange(len(a))/50, unit='s')).astype(str)).to_csv(tmp_path/'c.csv', index=False)
    off, right = (read_device(tmp_path/'c.csv', unit='g', calibrate=c, nonwear_minutes=None) for c in (False, True))
    error = lambda r: np.abs(np.linalg.norm(r.samples.reshape(150,-1,3).mean(1), axis=1)-1).mean()
    assert error(off)>.01 and error(right)<.003 and right.info['CalibOK']

def test_too_little_rest_to_calibrate_by_is_told(tmp_path, moving):
    pd.DataFrame(moving[:3000], columns=['x','y','z']).assign(time=(start+pd.to_timedelta(np.arange(3000)/50, unit='s')).astype(str)).to_csv(tmp_path/'c.csv', index=False)
    with pytest.warns(DataWarning, match='too few moments of rest to calibrate gravity by, and left as written: c.csv'): read_device(tmp_path/'c.csv', unit='g')

def test_a_file_cut_short_gives_what_it_has(tmp_path, moving):
    if shutil.which('java') is None: pytest.skip('no Java')
    path = write_geneactiv(tmp_path/'cut.bin', moving, cut=400_000)
    r = read_device(path, calibrate=False, nonwear_minutes=None)
    assert 0<len(r.samples)<len(moving) and len(r.samples)%300==0

def test_bad_input_is_named(tmp_path, csv_file, bin_file, monkeypatch):
    with pytest.raises(ValueError, match='there is no file'): read_device(tmp_path/'none.cwa')
    with pytest.raises(ValueError, match='`unit` is missing'): read_device(csv_file)
    with pytest.raises(ValueError, match='comes in g'): read_device(bin_file, unit='g')
    with pytest.raises(ValueError, match='`nonwear_minutes` is -3'): read_device(csv_file, nonwear_minutes=-3, **of_csv)
    with pytest.raises(ValueError, match=r'`nonwear_minutes` is \[3\]'): read_device(csv_file, nonwear_minutes=[3], **of_csv)
    with pytest.raises(ValueError, match="`lowpass` is '20'"): read_device(csv_file, lowpass='20', **of_csv)
    (tmp_path/'a.txt').write_text('x')
    with pytest.raises(ValueError, match='a.txt is none of .cwa'): read_device(tmp_path/'a.txt')
    with pytest.raises(ValueError, match='there is no device file'): from_devices(tmp_path)
    (tmp_path/'broken.cwa').write_bytes(b'MD'+bytes(3000))
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    with pytest.raises(ValueError, match='wants Java'): read_device(tmp_path/'broken.cwa')
    monkeypatch.undo()
    if shutil.which('java'):
        for name in ('broken.cwa', 'broken.gt3x', 'broken.bin'):
            (tmp_path/name).write_bytes(b'MD'+bytes(3000))
            with pytest.raises(ValueError, match=r'actipy cannot read|holds no samples|`.*` is missing|not a zip'): read_device(tmp_path/name)
    monkeypatch.setitem(sys.modules, 'actipy', None)
    with pytest.raises(ImportError, match=r'tsai_relcon\[devices\]'): read_device(csv_file, **of_csv)

def test_never_worn_is_said(tmp_path, lying):
    pd.DataFrame(lying, columns=['x','y','z']).assign(time=(start+pd.to_timedelta(np.arange(len(lying))/50, unit='s')).astype(str)).to_csv(tmp_path/'drawer.csv', index=False)
    r = read_device(tmp_path/'drawer.csv', unit='g')
    assert not r.worn.any()                                                    # to the last sample
    with pytest.raises(ValueError, match='never worn'): r.segments()

def log(path, a, times=None, **columns):
    "A logger's CSV file"
    times = (start+pd.to_timedelta(np.arange(len(a))/50, unit='s')).astype(str) if times is None else times
    pd.DataFrame(a, columns=['x','y','z']).assign(time=times, **columns).to_csv(path, index=False)
    return path

def test_the_watch_on_the_table_at_the_end_is_not_worn(tmp_path, moving, lying):
    r = read_device(log(tmp_path/'a.csv', np.concatenate([moving, lying])), unit='g')
    assert len(r.stretches())==1 and not r.worn[-len(lying)+1000:].any()

def test_a_folder_without_a_never_worn_file_says_so(tmp_path, moving, lying):
    log(tmp_path/'drawer.csv', lying); log(tmp_path/'worn.csv', moving)
    with pytest.warns(DataWarning, match='drawer.csv the sensor was never worn'): s = from_devices(tmp_path, unit='g', rate=50, length=128)
    assert set(s.subject)=={'worn'}

def test_names_tell_people_apart(tmp_path, moving):
    for name in ('2026.03.01_p1','2026.03.01_p2'): log(tmp_path/f'{name}.csv', moving[:3000])
    assert set(from_devices(tmp_path, unit='g', rate=50, length=128).subject)=={'2026.03.01_p1','2026.03.01_p2'}
    (tmp_path/'b').mkdir()
    log(tmp_path/'b/2026.03.01_p1.csv', moving[:3000])
    with pytest.raises(ValueError, match=r'one person each \(2026.03.01_p1\)'): from_devices(tmp_path, unit='g', rate=50, length=128)
    with pytest.raises(ValueError, match="`subject` is 'x'"): from_devices(tmp_path, unit='g', subject='x')

def test_dates_keep_the_clock_of_the_wearer(tmp_path, moving):
    "With an offset the wall's time, also where summer time ends"
    utc = pd.Timestamp('2026-10-25 00:55:00')+pd.to_timedelta(np.arange(len(moving))/50, unit='s')
    local = utc.tz_localize('UTC').tz_convert('Europe/Berlin')
    assert len({t[-6:] for t in local.astype(str)})==2                          # +02:00, then +01:00
    r = read_device(log(tmp_path/'a.csv', moving, local.astype(str)), unit='g')
    assert pd.to_datetime(r.time[0], unit='s')==pd.Timestamp('2026-10-25 02:55') and len(r.stretches())==1

@pytest.mark.parametrize('change, says', [(lambda a: a/1000, 'median magnitude of 0.0'), (lambda a: np.where(np.arange(len(a))[:,None]==7, 1e6, a), 'more than 100 g in 1 of'), (lambda a: np.where(np.arange(len(a))[:,None]%50==7, np.nan, a), '60 rows of .* lack an axis')])
def test_what_looks_wrong_is_told(tmp_path, moving, change, says):
    with pytest.warns(DataWarning, match=says): read_device(log(tmp_path/'a.csv', change(moving[:3000])), unit='g')

def test_rows_without_a_time_and_a_slow_logger_are_told(tmp_path, moving):
    times = (start+pd.to_timedelta(np.arange(3000)/50, unit='s')).astype(str).to_numpy(object)
    times[10:40] = None
    with pytest.warns(DataWarning, match='30 rows of .* have no time'): read_device(log(tmp_path/'a.csv', moving[:3000], times), unit='g')
    slow = read_device(log(tmp_path/'b.csv', moving[:3000:10], (start+pd.to_timedelta(np.arange(300)/5, unit='s')).astype(str)), unit='g')
    with pytest.warns(DataWarning, match='nothing faster than 2.5 Hz'): slow.segments(50, 128)

def test_errors_name_the_file_and_come_before_the_work(tmp_path, moving, monkeypatch):
    times = (start+pd.to_timedelta(np.arange(3000)/50, unit='s')).astype(str).to_numpy(object)
    back  = times.copy(); back[100] = times[50]
    path  = log(tmp_path/'back.csv', moving[:3000], back)
    for read in (read_device, from_devices):
        with pytest.raises(ValueError, match='back.csv.*runs backwards'): read(path, unit='g')
    with pytest.raises(ValueError, match='`lowpass` is 30'): read_device(log(tmp_path/'a.csv', moving[:3000]), unit='g', lowpass=30)
    with pytest.raises(ValueError, match='clock coarser'): read_device(log(tmp_path/'c.csv', moving[:3000], pd.to_datetime(times.astype(str)).floor('s').astype(str)), unit='g')
    with pytest.raises(ValueError, match='is a folder'): read_device(tmp_path)
    monkeypatch.setattr(devices, '_recording', lambda *a, **k: pytest.fail('read'))
    for wrong, says in ((dict(rate=-1), '`rate` is -1'), (dict(rate=50, overlap=2), '`overlap`'), (dict(rate=50, length=0), '`length`')):
        with pytest.raises(ValueError, match=says): from_devices(tmp_path, unit='g', **wrong)

@pytest.mark.parametrize('name, wanted', [('a.cwa',True), ('a.CWA.gz',True), ('b.gt3x',True), ('c.bin.zip',True), ('d.csv',False), ('cwa',False), ('e.bin.txt',False)])
def test_names_of_devices(name, wanted): assert is_device_file(name)==wanted

@java
def test_pretraining_sees_worn_time_alone(moving, lying, tmp_path, capsys):
    "A folder of device files to weights: of each person six minutes in place of thirty-one"
    from tsai_relcon.cli import relcon_pretrain
    (tmp_path/'in').mkdir()
    for i,name in enumerate('abc'): write_geneactiv(tmp_path/f'in/{name}.bin', np.concatenate([moving[i*9000:][:9000], lying[:25*3000], moving[-9000:]]))
    relcon_pretrain(str(tmp_path/'in'), str(tmp_path/'out'), nonwear=20., rate=50., length=128, width=2, groups=4, within=3, epochs=1, distance_epochs=1)
    assert load_encoder(tmp_path/'out/encoder.safetensors').info['rate']==50
    said = capsys.readouterr().out
    n = int(said.split('Segments: ')[1].split(' ')[0].replace(',', ''))
    assert 3*5*60/2.56<n<3*7.5*60/2.56 and '3 subjects' in said
