import importlib.util, sys
from pathlib import Path
spec=importlib.util.spec_from_file_location("spool_contract","/work/main/tests/contract/test_spool.py"); m=importlib.util.module_from_spec(spec); sys.modules["spool_contract"]=m; spec.loader.exec_module(m)
from tests.fake_spool import FakeSpool
_by={}
async def open_fake(directory, clock):
    s=_by.get(str(directory))
    if s is None: s=_by[str(directory)]=FakeSpool(clock, lease=m.LEASE)
    else: s.reopen()
    return s
m.IMPLEMENTATIONS.clear(); m.IMPLEMENTATIONS["fake"]=open_fake
globals().update({k:v for k,v in vars(m).items() if k.startswith("test_") or k in("bench","spool")})
import pytest
@pytest.fixture(params=["fake"])
async def bench(request, tmp_path):
    b=m.Bench(open_fake, tmp_path/"spool"); yield b; await b.close()
