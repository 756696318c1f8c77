import { basename, join } from 'node:path'
import { Options } from '@flotilla/api/containerd/runc/v1/runc'
import { Any } from '@flotilla/api/google/protobuf/any'

const typeUrl = 'containerd.runc.v1.Options'

/** Options that are runc's, which say things that are not the shim's business alone. */
export function runcOptions(options: Any | undefined): Options | undefined {
  return options?.typeUrl.split('/').at(-1) === typeUrl ? Options.decode(options.value) : undefined
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
  const value = Buffer.from(Options.encode({ ...mine, root: join(state, 'runc') }).finish())
  return Any.fromPartial({ typeUrl: options?.typeUrl || typeUrl, value })
}
