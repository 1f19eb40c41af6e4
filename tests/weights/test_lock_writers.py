"""Several processes that write to one lock file."""

import threading
import time

from vaezoo.weights import lock


def test_entries_that_are_added_at_the_same_time_are_all_kept(tmp_path, monkeypatch):
    read = lock.read_lock

    def slow(path):
        found = read(path)
        time.sleep(0.05)
        return found

    monkeypatch.setattr(lock, "read_lock", slow)
    path, file = tmp_path / "vaezoo.lock", tmp_path / "config.json"
    file.touch()
    files = {file.name: file}
    added = [lock.Fetched(f"hf-hub:alice/{number}", f"alice/{number}", "0" * 40, files) for number in range(3)]
    threads = [threading.Thread(target=lock.add_pin, args=(path, fetched)) for fetched in added]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read(path).keys() == {fetched.name for fetched in added}
