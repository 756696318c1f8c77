import { type Call, RpcError } from '@flotilla/rpc'
import { headers, type MsgHdrs } from 'nats'

const namespaceHeader = 'containerd-namespace'
const leaseHeader = 'containerd-lease'
const deadlineHeader = 'flotilla-deadline'
const metadataPrefix = 'flotilla-metadata-'
/** Identifies a command for cancelling. */
export const commandHeader = 'flotilla-command'
/** On an answer: `working`, `done` or `failed`. */
export const stateHeader = 'flotilla-state'
const codeHeader = 'flotilla-code'
const messageHeader = 'flotilla-message'
const reasonHeader = 'flotilla-reason'

// Header values are single lines on the wire.
const pack = (text: string) => encodeURIComponent(text)
const unpack = (text: string) => decodeURIComponent(text)

/** A call's parts as headers of a command. */
export function callHeaders(call: Call, command: string): MsgHdrs {
  const out = headers()
  out.set(commandHeader, command)
  if (call.namespace !== undefined) out.set(namespaceHeader, pack(call.namespace))
  if (call.lease !== undefined) out.set(leaseHeader, pack(call.lease))
  if (call.deadline !== undefined) out.set(deadlineHeader, String(call.deadline))
  for (const [key, value] of call.metadata) out.set(metadataPrefix + key, pack(value))
  return out
}

/** The call that a command's headers carry; `signal` is the server's. */
export function callFromHeaders(from: MsgHdrs | undefined, signal: AbortSignal): Call {
  const text = (key: string) => (from?.has(key) ? unpack(from.get(key)) : undefined)
  const metadata = new Map<string, string>()
  for (const key of from?.keys() ?? []) {
    if (key.toLowerCase().startsWith(metadataPrefix))
      metadata.set(key.toLowerCase().slice(metadataPrefix.length), unpack(from?.get(key) ?? ''))
  }
  const deadline = text(deadlineHeader)
  return {
    namespace: text(namespaceHeader),
    lease: text(leaseHeader),
    deadline: deadline === undefined ? undefined : Number(deadline),
    signal,
    metadata,
  }
}

export function stateHeaders(state: 'working' | 'done'): MsgHdrs {
  const out = headers()
  out.set(stateHeader, state)
  return out
}

export function failureHeaders(error: RpcError): MsgHdrs {
  const out = headers()
  out.set(stateHeader, 'failed')
  out.set(codeHeader, String(error.code))
  out.set(messageHeader, pack(error.message))
  if (error.reason !== undefined) out.set(reasonHeader, pack(error.reason))
  return out
}

export function failureOf(from: MsgHdrs): RpcError {
  const reason = from.has(reasonHeader) ? unpack(from.get(reasonHeader)) : undefined
  return new RpcError(Number(from.get(codeHeader)), unpack(from.get(messageHeader)), { reason })
}
