import { basename, join } from 'node:path'
import { Options } from '@flotilla/api/containerd/runc/v1/runc'
import { Any } from '@flotilla/api/google/protobuf/any'
import type { Bundle } from './bundle.ts'

const typeUrl = 'containerd.runc.v1.Options'

/** Options that are runc's, which say things that are not the shim's business alone. */
export function runcOptions(options: Any | undefined): Options | undefined {
  return options?.typeUrl.split('/').at(-1) === typeUrl ? Options.decode(options.value) : undefined
}

/** Where runc keeps its containers unless a caller chose another directory. */
function runcRoot(state: string): string {
  return join(state, 'runc')
}

/** What runc keeps of one container there. */
export function runcFolder(state: string, { id, namespace }: Bundle): string {
  return join(runcRoot(state), namespace, id)
}

/**
 * Options with a directory below our state for what runc keeps, unless the caller chose one. The shim's own default is
 * one for the whole machine, where containers of two daemons with the same namespace and id would meet.
 */
export function withOwnRoot(options: Any | undefined, binary: string, state: string): Any | undefined {
  const given = runcOptions(options)
  const mine =
    given ?? (!options?.typeUrl && basename(binary) === 'containerd-shim-runc-v2' ? Options.create() : undefined)
  if (mine?.root !== '') return options
  const value = Buffer.from(Options.encode({ ...mine, root: runcRoot(state) }).finish())
  return Any.fromPartial({ typeUrl: options?.typeUrl || typeUrl, value })
}
