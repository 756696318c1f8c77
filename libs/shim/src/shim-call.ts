import type { Call } from '@flotilla/rpc'

const nothing: ReadonlyMap<string, string> = new Map()

/** A caller's call as the shim gets it: same namespace, deadline and cancellation, none of the caller's metadata. */
export function shimCall(namespace: string, { deadline, signal }: Call): Call {
  return { namespace, lease: undefined, signal, deadline, metadata: nothing }
}
