import { sourcePrefix } from '@flotilla/oci'
import type { Reference } from './reference.ts'

type Labels = Readonly<Record<string, string>>

function labelOf(reference: Reference): string {
  // The name of the host alone, as containerd has it, so ports of one host share a label.
  return `${sourcePrefix}${reference.host.replace(/:\d+$/, '')}`
}

function repositoriesOf(labels: Labels, label: string): string[] {
  return (labels[label] ?? '').split(',').filter((name) => name !== '')
}

/**
 * The label that says which repositories of a host a blob is known to be in, with this reference's among them.
 *
 * @param existing the labels that the content has already
 */
export function sourceLabels(reference: Reference, existing: Labels = {}): Record<string, string> {
  const label = labelOf(reference)
  const names = new Set([...repositoriesOf(existing, label), reference.repository])
  return { [label]: [...names].sort().join(',') }
}

/**
 * The other repositories on the reference's host that have the content, by its labels, those with the longest common
 * path first: what to mount it from when it is pushed.
 */
export function mountSources(reference: Reference, labels: Labels): string[] {
  const own = reference.repository.split('/')
  const shared = (name: string) => {
    const parts = name.split('/')
    const end = parts.findIndex((part, index) => part !== own[index])
    return end < 0 ? parts.length : end
  }
  return repositoriesOf(labels, labelOf(reference))
    .filter((name) => name !== reference.repository)
    .sort((one, other) => shared(other) - shared(one))
}
