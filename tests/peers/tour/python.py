"""The client tour through aetcd, a Python client of etcd on grpcio.

usage: python tests/peers/tour/python.py HOST:PORT

The expected answers were taken from a real etcd 3.7.1, against which the same program passes. Revisions are counted
from the one the tour found (base), so it does not matter what was in the store before. What the client offers no
method for (historical reads, codes on the wire) goes through its own stubs.
"""

import asyncio
import sys
import time

import aetcd
from aetcd import rpc

PATIENCE = 20  # seconds, bounds every wait
END = b'tour0'  # the first key after the prefix tour/


class Tour:
    def __init__(self, client):
        self.client = client
        self.base = 0
        self.checks = 0

    def same(self, what, expected, got):
        self.checks += 1
        if expected != got:
            sys.exit(f'python tour: {what}\n  expected {expected!r}\n  got      {got!r}')

    async def refused(self, what, error, text, call):
        """The exception the client makes of the answer, and the text on the wire."""
        try:
            await call
        except aetcd.ClientError as e:
            self.same(f'{what}: exception', error.__name__, type(e).__name__)
            self.same(f'{what}: text', text, str(e))
        else:
            sys.exit(f'python tour: {what}: succeeded, expected {text!r}')

    async def refused_with(self, what, code, text, call):
        """The code on the wire, too."""
        try:
            await call
        except rpc.AioRpcError as e:
            self.same(f'{what}: code', code, e.code().name)
            self.same(f'{what}: text', text, e.details())
        else:
            sys.exit(f'python tour: {what}: succeeded, expected {text!r}')

    def range(self, **options):
        request = rpc.RangeRequest(key=b'tour/', range_end=END)
        for name, value in options.items():
            setattr(request, name, value)
        return self.client.kvstub.Range(request)

    async def run(self):
        await self.client.connect()
        cleared = await self.client.delete_prefix(b'tour/')
        self.base = cleared.header.revision
        await self.put()
        await self.get()
        await self.history()
        await self.delete()
        await self.txn()
        await self.lease()
        await self.watch()
        await self.compact()
        print(f'python tour: {self.checks} checks passed')

    async def put(self):
        for i, key in enumerate((b'a', b'b', b'c')):
            answer = await self.client.put(b'tour/' + key, b'%d' % (i + 1))
            self.same('revision of put', self.base + i + 1, answer.header.revision)
        answer = await self.client.put(b'tour/a', b'one', prev_kv=True)  # +4
        self.same('previous value', b'1', answer.prev_kv.value)
        await self.client.put(b'tour/\x00\xff', b'\xfe\x00')  # +5
        await self.client.put(b'tour/empty', b'')  # +6
        await self.refused('put without a key', aetcd.InvalidArgumentError, 'etcdserver: key is not provided',
                           self.client.put(b'', b'x'))
        await self.refused('put with an unknown lease', aetcd.ClientError, 'etcdserver: requested lease not found',
                           self.client.put(b'tour/a', b'x', lease=0x7fffffff))
        await self.refused_with('put that keeps no value', 'INVALID_ARGUMENT', 'etcdserver: key not found',
                                self.client.kvstub.Put(rpc.PutRequest(key=b'tour/absent', ignore_value=True)))
        await self.refused('put that is too large', aetcd.InvalidArgumentError, 'etcdserver: request is too large',
                           self.client.put(b'tour/a', b'x' * 1572864))

    async def get(self):
        got = await self.client.get(b'tour/a')
        self.same('get', (b'tour/a', b'one', self.base + 1, self.base + 4, 2, 0),
                  (got.key, got.value, got.create_revision, got.mod_revision, got.version, got.lease))
        self.same('revision of get', self.base + 6, got.header.revision)
        self.same('serializable', b'one', (await self.client.get(b'tour/a', serializable=True)).value)
        self.same('absent', None, await self.client.get(b'tour/absent'))
        got = await self.client.get_prefix(b'tour/')
        self.same('prefix', [(b'tour/\x00\xff', b'\xfe\x00'), (b'tour/a', b'one'), (b'tour/b', b'2'), (b'tour/c', b'3'),
                             (b'tour/empty', b'')], [(kv.key, kv.value) for kv in got])
        self.same('count', (5, False), (got.count, got.more))
        got = await self.client.get_range(b'tour/a', b'tour/d', sort_order='descend', sort_target='mod')
        self.same('sorted', [b'tour/a', b'tour/c', b'tour/b'], [kv.key for kv in got])
        got = await self.client.get_prefix(b'tour/', keys_only=True)
        self.same('keys only', {b''}, {kv.value for kv in got})
        answer = await self.range(limit=2)
        self.same('limit', (2, 5, True), (len(answer.kvs), answer.count, answer.more))
        answer = await self.range(count_only=True)
        self.same('count only', (0, 5, False), (len(answer.kvs), answer.count, answer.more))
        answer = await self.range(min_mod_revision=self.base + 4)
        self.same('min mod revision', [b'tour/\x00\xff', b'tour/a', b'tour/empty'], [kv.key for kv in answer.kvs])

    async def history(self):
        for at, expected in ((1, [b'1']), (2, [b'1', b'2']), (3, [b'1', b'2', b'3']), (4, [b'one', b'2', b'3'])):
            answer = await self.range(revision=self.base + at)
            self.same(f'history at {at}', expected, [kv.value for kv in answer.kvs])
            self.same('a historical read tells the newest revision', self.base + 6, answer.header.revision)
        await self.refused_with('future', 'OUT_OF_RANGE', 'etcdserver: mvcc: required revision is a future revision',
                                self.range(revision=self.base + 100))

    async def delete(self):
        gone = await self.client.delete(b'tour/c', prev_kv=True)  # +7
        self.same('delete', (1, b'3', self.base + 7), (gone.deleted, gone.prev_kv.value, gone.header.revision))
        self.same('delete of nothing', None, await self.client.delete(b'tour/c'))

    async def txn(self):
        t = self.client.transactions
        succeeded, answers = await self.client.transaction(
            compare=[t.value(b'tour/a') == b'one', t.version(b'tour/a') > 1, t.create(b'tour/absent') == 0],
            success=[t.put(b'tour/txn', b'yes'), t.get(b'tour/txn'), t.delete(b'tour/empty')],
            failure=[t.put(b'tour/txn', b'no')])  # +8
        self.same('txn', True, succeeded)
        self.same('put in a txn', self.base + 8, answers[0].response_put.header.revision)
        self.same('get in a txn', b'yes', answers[1][0][0])
        self.same('delete in a txn', 1, answers[2].response_delete_range.deleted)
        succeeded, answers = await self.client.transaction(
            compare=[t.mod(b'tour/a') > self.base + 100], success=[], failure=[t.put(b'tour/txn', b'no')])  # +9
        self.same('txn that takes its else branch', (False, self.base + 9),
                  (succeeded, answers[0].response_put.header.revision))
        await self.refused('a key put twice', aetcd.InvalidArgumentError,
                           'etcdserver: duplicate key given in txn request',
                           self.client.transaction(compare=[], success=[t.put(b'tour/x', b'1'), t.put(b'tour/x', b'2')],
                                                   failure=[]))

    async def lease(self):
        lease = await self.client.lease(600)
        self.same('TTL', 600, lease.ttl)
        await self.client.put(b'tour/leased', b'1', lease=lease)  # +10
        self.same('attached keys', [b'tour/leased'], list(await lease.keys()))
        self.same('granted', 600, await lease.granted_ttl())
        self.same('keep alive', 600, (await lease.refresh()).TTL)
        await self.refused('a lease id twice', aetcd.DuplicateLeaseError, '', self.client.lease(10, lease.id))
        await lease.revoke()  # +11
        await self.refused('revoke twice', aetcd.ClientError, 'etcdserver: requested lease not found', lease.revoke())
        self.same('TTL of a revoked lease', -1, await lease.remaining_ttl())
        self.same('keep alive of a revoked lease', 0, (await lease.refresh()).TTL)
        self.same('its key is gone', None, await self.client.get(b'tour/leased'))

        lease = await self.client.lease(1)
        self.same('the shortest TTL', 2, lease.ttl)
        await self.client.put(b'tour/short', b'1', lease=lease)  # +12
        deadline = time.monotonic() + PATIENCE
        while await self.client.get(b'tour/short') is not None:  # expiry at +13
            if time.monotonic() > deadline:
                sys.exit('python tour: a lease with a TTL of 2 s did not expire')
            await asyncio.sleep(0.05)

    async def events(self, watch, count):
        got = []
        async for event in watch:
            got.append((event.kind, event.kv.key, event.kv.value, event.kv.mod_revision - self.base))
            if len(got) == count:
                return got

    async def watch(self):
        past = await self.client.watch_prefix(b'tour/', start_revision=self.base + 7)
        self.same('watch from the past', [
            ('DELETE', b'tour/c', b'', 7), ('PUT', b'tour/txn', b'yes', 8), ('DELETE', b'tour/empty', b'', 8),
            ('PUT', b'tour/txn', b'no', 9), ('PUT', b'tour/leased', b'1', 10), ('DELETE', b'tour/leased', b'', 11),
            ('PUT', b'tour/short', b'1', 12), ('DELETE', b'tour/short', b'', 13),
        ], await asyncio.wait_for(self.events(past, 8), PATIENCE))
        await past.cancel()
        live = await self.client.watch(b'tour/live', prev_kv=True)
        await self.client.put(b'tour/live', b'1')  # +14
        await self.client.put(b'tour/other', b'1')  # +15
        await self.client.delete(b'tour/live')  # +16
        self.same('watch live', [('PUT', b'tour/live', b'1', 14), ('DELETE', b'tour/live', b'', 16)],
                  await asyncio.wait_for(self.events(live, 2), PATIENCE))
        await live.cancel()

    async def compact(self):
        compacted = 'etcdserver: mvcc: required revision has been compacted'
        await self.client.compact(self.base + 8, physical=True)
        await self.refused('compact twice', aetcd.ClientError, compacted, self.client.compact(self.base + 8))
        await self.refused('compact the future', aetcd.ClientError,
                           'etcdserver: mvcc: required revision is a future revision',
                           self.client.compact(self.base + 100))
        await self.refused_with('read what is compacted', 'OUT_OF_RANGE', compacted, self.range(revision=self.base + 7))
        answer = await self.range(revision=self.base + 8)
        self.same('read the compacted revision itself', [b'tour/\x00\xff', b'tour/a', b'tour/b', b'tour/txn'],
                  [kv.key for kv in answer.kvs])
        watch = await self.client.watch(b'tour/a', start_revision=self.base + 1)
        try:
            await asyncio.wait_for(self.events(watch, 1), PATIENCE)
        except aetcd.RevisionCompactedError as e:
            self.same('watch from what is compacted', self.base + 8, e.compacted_revision)
        else:
            sys.exit('python tour: a watch from a compacted revision was served')


async def main():
    host, port = sys.argv[1].rsplit(':', 1)
    async with aetcd.Client(host=host, port=int(port)) as client:
        await asyncio.wait_for(Tour(client).run(), 120)


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit('usage: python.py HOST:PORT')
    asyncio.run(main())
