import { Node, NodeStatus } from '@flotilla/api/flotilla/cluster/v1/nodes'
import { hasCode, status } from '@flotilla/rpc'
import { describe, expect, it } from 'vitest'
import { createScheduler } from './scheduler.ts'

const node = (name: string, more: Parameters<typeof Node.fromPartial>[0] = {}) =>
  Node.fromPartial({
    name,
    status: NodeStatus.NODE_STATUS_READY,
    capacity: { cpus: 4, memory: 8e9 },
    snapshotters: ['overlayfs'],
    runtimes: ['io.containerd.runc.v2'],
    ...more,
  })

const among = (...nodes: Node[]) => createScheduler({ nodes: async () => nodes })

describe('the scheduler', () => {
  it('chooses the least loaded of those that are ready and not cordoned', async () => {
    const schedule = among(
      node('busy', { load: { reservedCpuMillis: 3_000 } }),
      node('idle', { load: { reservedCpuMillis: 100 } }),
      node('cordoned', { cordoned: true }),
      node('silent', { status: NodeStatus.NODE_STATUS_NOT_READY }),
    )
    expect(await schedule({})).toEqual({ node: 'idle', reason: 'least loaded of 2' })
  })

  it('prefers what is near over what is idle, and says so', async () => {
    const schedule = among(node('a', { load: { reservedMemory: 6e9 } }), node('b'))
    const placed = await schedule({ near: new Map([['a', 10]]), nearReason: 'has the parent snapshot' })
    expect(placed).toEqual({ node: 'a', reason: 'has the parent snapshot; nearest of 2' })
  })

  it('spreads what comes faster than nodes tell of their load', async () => {
    const schedule = among(node('a'), node('b'), node('c'))
    const chosen = await Promise.all(Array.from({ length: 6 }, () => schedule({})))
    for (const name of ['a', 'b', 'c']) expect(chosen.filter((one) => one.node === name)).toHaveLength(2)
  })

  it('leaves out nodes without the driver or the runtime', async () => {
    const schedule = among(node('a'), node('b', { snapshotters: ['btrfs'], runtimes: ['io.containerd.other.v1'] }))
    expect((await schedule({ snapshotter: 'btrfs' })).node).toBe('b')
    expect((await schedule({ runtime: 'io.containerd.runc.v2' })).node).toBe('a')
  })

  it('is UNAVAILABLE when no node can take it, naming those that it is bound to', async () => {
    const failure = await among(node('a'))({ only: new Set(['gone']) }).catch((error: unknown) => error)
    expect(hasCode(failure, status.UNAVAILABLE)).toBe(true)
    expect(String(failure)).toContain('node "gone"')
  })
})
