"Archives as strangers make them, and downloads that break off"
import http.server, io, threading, zipfile
import numpy as np
import pytest
from tsai_relcon.files import PublishedFiles, fetch, fetch_dataset, sha256_of, sources

def zipped(path, **members):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as z:
        for name,text in members.items(): z.writestr(name, text)
    return path

def test_folder_archive_and_archive_in_archive_read_alike(tmp_path):
    (tmp_path/'a/Protocol').mkdir(parents=True)
    (tmp_path/'a/Protocol/s1.dat').write_text('1 2')
    inner = zipped(tmp_path/'inner.zip', **{'Set/Protocol/s1.dat': '1 2'})
    outer = zipped(tmp_path/'outer.zip', **{'Set.zip': inner.read_bytes(), '__MACOSX/Set/Protocol/s1.dat': 'junk'})
    (tmp_path/'b').mkdir(); (tmp_path/'b/Set.zip').write_bytes(inner.read_bytes())
    for source in (tmp_path/'a', inner, outer, tmp_path/'b'):
        published = PublishedFiles(source)
        (name, m), = published.find(r'Protocol/s(\d)\.dat')
        assert m[1]=='1' and published.read(name)==b'1 2'
        assert published.find(r'xProtocol/s1\.dat')==[]

@pytest.mark.parametrize('member', ['../evil.csv', '/etc/evil.csv', 'a/../../evil.csv', 'C:/evil.csv', '..\\evil.csv'])
def test_a_member_outside_the_folder_is_refused(member, tmp_path):
    with pytest.raises(ValueError, match='outside'): PublishedFiles(zipped(tmp_path/'x.zip', **{'ok.csv': '1', member: '2'}))
    assert not (tmp_path.parent/'evil.csv').exists()

def test_truncated_and_damaged_archives(tmp_path):
    whole = zipped(tmp_path/'x.zip', **{'a.csv': np.random.default_rng(0).bytes(5000), 'b.csv': 'ok'}).read_bytes()
    (tmp_path/'cut.zip').write_bytes(whole[:3000])
    with pytest.raises(ValueError, match='not a whole zip'): PublishedFiles(tmp_path/'cut.zip')
    hurt = bytearray(whole); hurt[1000] ^= 255
    (tmp_path/'hurt.zip').write_bytes(hurt)
    with pytest.raises(ValueError, match='damaged at a.csv'): PublishedFiles(tmp_path/'hurt.zip').read('a.csv')
    with pytest.raises(ValueError, match='no folder and no file'): PublishedFiles(tmp_path/'nothing.zip')
    inner = zipped(tmp_path/'outer.zip', **{'Set.zip': whole[:3000]})
    with pytest.raises(ValueError, match='Set.zip'): PublishedFiles(inner)

class Server(http.server.BaseHTTPRequestHandler):
    "Serves `body`; sends `limit` bytes at most, then drops the connection; honours Range unless told not to"
    body, limit, ranges, asked = b'', None, True, []
    def do_GET(self):
        self.asked.append(self.headers.get('Range'))
        start = int(self.headers['Range'][6:-1]) if self.ranges and self.headers.get('Range') else 0
        if start>=len(self.body): return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header('Content-Length', str(len(self.body)-start)); self.end_headers()
        self.wfile.write(self.body[start:None if self.limit is None else start+self.limit])
    def log_message(self, *_): pass

@pytest.fixture
def server():
    class Handler(Server): body, asked = np.random.default_rng(0).bytes(3_000_000), []
    s = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    s.url = f'http://127.0.0.1:{s.server_port}/some+set.zip'
    yield s
    s.shutdown(); s.server_close()

def test_a_download_goes_on_where_it_broke_off(server, tmp_path, capsys):
    handler = server.RequestHandlerClass
    handler.limit = 2_000_000
    with pytest.raises(OSError, match='broke off after 2000000 of 3000000'): fetch(server.url, tmp_path, progress=False)
    assert not (tmp_path/'some+set.zip').exists() and (tmp_path/'some+set.zip.part').stat().st_size==2_000_000
    handler.limit = None
    path = fetch(server.url, tmp_path, progress=False)
    assert path.read_bytes()==handler.body and handler.asked==[None, 'bytes=2000000-'] and not (tmp_path/'some+set.zip.part').exists()
    assert 'downloading http' in capsys.readouterr().out
    assert (tmp_path/'some+set.zip.sha256').read_text()==f'{sha256_of(path)}  some+set.zip\n'
    assert fetch(server.url, tmp_path, progress=False)==path and len(handler.asked)==2            # there already

def test_a_server_without_ranges_starts_anew(server, tmp_path):
    handler = server.RequestHandlerClass
    (tmp_path/'some+set.zip.part').write_bytes(b'x'*1000)
    handler.ranges = False
    assert fetch(server.url, tmp_path, progress=False).read_bytes()==handler.body

def test_all_there_but_not_yet_renamed(server, tmp_path):
    (tmp_path/'some+set.zip.part').write_bytes(server.RequestHandlerClass.body)
    assert fetch(server.url, tmp_path, progress=False).read_bytes()==server.RequestHandlerClass.body

def test_checksums(server, tmp_path):
    with pytest.raises(ValueError, match='sha256'): fetch(server.url, tmp_path, sha256='0'*64, progress=False)
    assert list(tmp_path.iterdir())==[]                                                           # nothing wrong is left to be used
    path = fetch(server.url, tmp_path, progress=False)
    fetch(server.url, tmp_path, sha256=sha256_of(path).upper(), progress=False)                    # tools write either case
    path.write_bytes(b'changed')
    with pytest.raises(ValueError, match='remove it'): fetch(server.url, tmp_path, progress=False)  # noticed by the note beside it
    assert path.read_bytes()==b'changed'

def test_addresses_that_do_not_answer(server, tmp_path):
    with pytest.raises(OSError): fetch('http://127.0.0.1:9/x.zip', tmp_path, progress=False)
    with pytest.raises(ValueError, match='known are'): fetch_dataset('uci_har', tmp_path)
    assert all(s['url'].startswith('https://') and s['licence'] for s in sources.values())
