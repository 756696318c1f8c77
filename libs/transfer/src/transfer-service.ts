import type { TransferDefinition } from '@flotilla/api/containerd/services/transfer/v1/transfer'
import type { Any } from '@flotilla/api/google/protobuf/any'
import { type Call, invalidArgument, requireNamespace, type ServiceOf, unimplemented } from '@flotilla/rpc'
import { Turns } from '@flotilla/turns'
import { nameOf, unpackAny } from './any.ts'
import type { GivenDeps, TransferDeps } from './deps.ts'
import { echo } from './echo.ts'
import { exportImages } from './export.ts'
import { importArchive } from './import.ts'
import { Progress } from './progress.ts'
import { pull } from './pull.ts'
import { push } from './push.ts'
import { tag } from './tag.ts'
import { imageExportStream, imageImportStream, imageStore, ociRegistry } from './types.ts'
import { withOwnSnapshotters } from './unpack-configurations.ts'
import { Unpackings } from './unpackings.ts'

/** The transfer service of a node: what a transfer does follows from the types of its source and destination. */
export function createTransferService(given: GivenDeps): ServiceOf<typeof TransferDefinition> {
  const deps: TransferDeps = { ...given, turns: new Turns(), unpackings: new Unpackings() }
  const storeOf = (destination: Any, call: Call) => withOwnSnapshotters(deps, unpackAny(imageStore, destination), call)
  return {
    async transfer({ source, destination, options }, call) {
      requireNamespace(call)
      if (source === undefined) throw invalidArgument('source is required')
      if (destination === undefined) throw invalidArgument('destination is required')
      const stream = options?.progressStream ? deps.streams.get(options.progressStream, call) : undefined
      await using progress = new Progress(stream)
      const from = nameOf(source)
      const to = nameOf(destination)
      if (from === ociRegistry.name && to === imageStore.name)
        await pull(deps, unpackAny(ociRegistry, source), await storeOf(destination, call), progress, call)
      else if (from === imageStore.name && to === ociRegistry.name)
        await push(deps, unpackAny(imageStore, source), unpackAny(ociRegistry, destination), progress, call)
      else if (from === imageImportStream.name && to === imageStore.name)
        await importArchive(
          deps,
          unpackAny(imageImportStream, source),
          await storeOf(destination, call),
          progress,
          call,
        )
      else if (from === imageStore.name && to === imageExportStream.name)
        await exportImages(
          deps,
          unpackAny(imageStore, source),
          unpackAny(imageExportStream, destination),
          progress,
          call,
        )
      else if (from === imageImportStream.name && to === imageExportStream.name)
        await echo(deps, unpackAny(imageImportStream, source), unpackAny(imageExportStream, destination), call)
      else if (from === imageStore.name && to === imageStore.name)
        await tag(deps, unpackAny(imageStore, source), unpackAny(imageStore, destination), call)
      else throw unimplemented(`transfer from ${from || 'nothing'} to ${to || 'nothing'}`)
      return {}
    },
  }
}
