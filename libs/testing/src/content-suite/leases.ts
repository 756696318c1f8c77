import { WriteAction } from '@flotilla/api/containerd/services/content/v1/content'
import { type Call, makeCall } from '@flotilla/rpc'
import { describe, expect, test } from 'vitest'
import { type Bench, code, digestOf, exactly } from './bench.ts'

const { WRITE, COMMIT } = WriteAction

/** What the lease of a call holds. */
export function leasesCases(bench: Bench): void {
  describe('leases', () => {
    const { fresh, novel, writing, send, put, refs } = bench
    /** A call under a lease that was just made. */
    async function leased(namespace = bench.namespace()): Promise<Call> {
      await bench.store.createLease(namespace, 'lease')
      return makeCall({ namespace, lease: 'lease' })
    }
    const held = (call: Call) => bench.store.leaseResources(call.namespace!, 'lease')

    test('hold the ingest from the first message and the content from the COMMIT', async () => {
      const call = await leased()
      const data = novel()
      await send(call, { ref: 'r', action: WRITE, data })
      expect(await held(call)).toEqual(['ingests r'])
      await send(call, { ref: 'r' }, { action: COMMIT, offset: data.length })
      expect(await held(call)).toEqual([`content ${digestOf(data)}`])
      await bench.content.delete({ digest: digestOf(data) }, call)
      expect(await held(call)).toEqual([])
    })

    test('let an aborted ingest go', async () => {
      const call = await leased()
      await send(call, { ref: 'r' })
      await bench.content.abort({ ref: 'r' }, call)
      expect(await held(call)).toEqual([])
    })

    test('hold content that was there already, however that was found out', async () => {
      const namespace = bench.namespace()
      const plain = makeCall({ namespace })
      const call = await leased(namespace)
      const exists = code('ALREADY_EXISTS')
      const [opening, telling, committing] = [novel(), novel(), novel()]
      await writing(call, async (writer) => {
        await writer.send({ ref: 'telling' })
        for (const data of [opening, telling, committing]) await put(plain, data)
        await expect(writer.send({ expected: digestOf(telling) })).rejects.toMatchObject(exists)
      })
      await expect(send(call, { ref: 'opening', expected: digestOf(opening) })).rejects.toMatchObject(exists)
      await expect(send(call, { ref: 'committing', action: COMMIT, data: committing })).rejects.toMatchObject(exists)
      expect(await held(call)).toEqual([opening, telling, committing].map((data) => `content ${digestOf(data)}`).sort())
    })

    test('must exist for a Write, which leaves nothing otherwise', async () => {
      const call = fresh({ lease: 'unknown' })
      const missing = code('NOT_FOUND', exactly('lease does not exist: not found'))
      await expect(send(call, { ref: 'r' })).rejects.toMatchObject(missing)
      expect(await refs(call)).toEqual([])
      const digest = await put({ ...call, lease: undefined }, novel())
      await expect(send(call, { ref: 'r', expected: digest })).rejects.toMatchObject(missing)
      await bench.content.delete({ digest }, call)
    })
  })
}
