import { type Call, withCall } from '@flotilla/rpc'
import type { TransferDeps } from './deps.ts'

/** Does work under the caller's lease, or under one of its own that is gone afterwards. */
export async function underLease<T>(deps: TransferDeps, call: Call, work: (call: Call) => Promise<T>): Promise<T> {
  if (call.lease !== undefined && call.lease !== '') return await work(call)
  // The expiry is for a process that does not get to the deletion.
  const expire = new Date(Date.now() + 24 * 60 * 60 * 1000).toISOString()
  const { lease } = await deps.leases.create({ id: '', labels: { 'containerd.io/gc.expire': expire } }, call)
  const id = lease?.id ?? ''
  try {
    return await work(withCall(call, { lease: id }))
  } finally {
    // Also when the caller has gone.
    const after = withCall(call, { signal: new AbortController().signal, deadline: undefined })
    await deps.leases.delete({ id, sync: false }, after).catch((error: unknown) => {
      deps.logger.warn({ err: error, lease: id }, 'could not delete the lease of a transfer')
    })
  }
}
