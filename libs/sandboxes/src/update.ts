import { Sandbox } from '@flotilla/api/containerd/types/types'
import { maskedKey, validateLabels, withMaskedKey, withoutEmpty } from '@flotilla/metadata'
import { invalidArgument, validateIdentifier } from '@flotilla/rpc'
import { nodeLabel } from './node-label.ts'

/** What an update that names no fields replaces. */
const everything: readonly string[] = ['labels', 'extensions', 'spec', 'runtime']

/** Checks a record as it is to be stored. */
export function validateSandbox({ labels, sandboxId }: Sandbox): void {
  validateIdentifier(sandboxId, 'invalid sandbox ID: ')
  validateLabels(labels, '')
}

function applied(stored: Sandbox, requested: Sandbox, path: string): Sandbox {
  const label = maskedKey(path, 'labels')
  if (label) return { ...stored, labels: withMaskedKey(stored.labels, requested.labels, label) }
  const extension = maskedKey(path, 'extensions')
  if (extension) return { ...stored, extensions: withMaskedKey(stored.extensions, requested.extensions, extension) }
  switch (path) {
    case 'labels':
      return { ...stored, labels: withoutEmpty(requested.labels) }
    case 'extensions':
      return { ...stored, extensions: requested.extensions }
    case 'spec':
      return { ...stored, spec: requested.spec }
    case 'runtime':
      return { ...stored, runtime: requested.runtime }
    default:
      throw invalidArgument(`cannot update "${path}" field on sandbox "${stored.sandboxId}"`)
  }
}

/**
 * The stored record with the named fields taken from the requested one. Its node stays.
 *
 * @throws INVALID_ARGUMENT for an unknown field and for another runtime when no field is named
 */
export function updatedSandbox(stored: Sandbox, requested: Sandbox, fields: readonly string[]): Sandbox {
  if (fields.length === 0 && requested.runtime?.name !== stored.runtime?.name)
    throw invalidArgument('sandbox.Runtime.Name field is immutable')
  const paths = fields.length === 0 ? everything : fields
  const changed = paths.reduce((sandbox, path) => applied(sandbox, requested, path), stored)
  const node = stored.labels[nodeLabel]
  const next = Sandbox.fromPartial({
    ...changed,
    labels: { ...changed.labels, ...(node === undefined ? {} : { [nodeLabel]: node }) },
  })
  validateSandbox(next)
  return next
}
