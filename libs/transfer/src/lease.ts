import type { Descriptor } from '@flotilla/oci'
import { type Call, withCall } from '@flotilla/rpc'
import type { TransferDeps } from './deps.ts'

/** Milliseconds for a lease to be made or deleted. */
const patience = 30_000

/** Does work under the caller's lease, or under one of its own that is gone afterwards. */
export async function underLease<T>(deps: TransferDeps, call: Call, work: (call: Call) => Promise<T>): Promise<T> {
  if (call.lease !== undefined && call.lease !== '') return await work(call)
  return await underOwnLease(deps, call, work)
}

/**
 * Does work while nothing of what these name can be collected, whoever deletes their images. A lease of the caller's
 * stays as it is.
 */
export async function holding<T>(
  deps: TransferDeps,
  targets: readonly Descriptor[],
  call: Call,
  work: (call: Call) => Promise<T>,
): Promise<T> {
  return await underOwnLease(deps, call, async (leased) => {
    for (const { digest } of targets)
      await deps.leases.addResource({ id: leased.lease ?? '', resource: { type: 'content', id: digest } }, leased)
    return await work(leased)
  })
}

async function underOwnLease<T>(deps: TransferDeps, call: Call, work: (call: Call) => Promise<T>): Promise<T> {
  // To its end also when the caller leaves: nobody else would know of the lease.
  const apart = () => withCall(call, { signal: new AbortController().signal, deadline: Date.now() + patience })
  // The expiry is for a process that does not get to the deletion.
  const expire = new Date(Date.now() + 24 * 60 * 60 * 1000).toISOString()
  const { lease } = await deps.leases.create({ id: '', labels: { 'containerd.io/gc.expire': expire } }, apart())
  const id = lease?.id ?? ''
  try {
    call.signal.throwIfAborted()
    return await work(withCall(call, { lease: id }))
  } finally {
    await deps.leases.delete({ id, sync: false }, apart()).catch((error: unknown) => {
      deps.logger.warn({ err: error, lease: id }, 'could not delete the lease of a transfer')
    })
  }
}
