import { validateLabels, withoutEmpty } from '@flotilla/metadata'

/** Says on which node a snapshot is. Part of what Stat and List answer, never stored. */
export const nodeLabel = 'flotilla.io/node'

/** On Prepare and View: the committed name that this snapshot is made for. */
export const targetLabel = 'containerd.io/snapshot.ref'

/** The prefix of labels that drivers understand. */
const driverPrefix = 'containerd.io/snapshot/'

type Labels = Readonly<Record<string, string>>

/** Labels as they are stored. INVALID_ARGUMENT when one is too long. */
export function storable(labels: Labels): Record<string, string> {
  validateLabels(labels, 'info.Labels: ')
  const { [nodeLabel]: _, ...own } = withoutEmpty(labels)
  return own
}

/** The labels that a driver is told. */
export function driverLabels(labels: Labels): Record<string, string> {
  return Object.fromEntries(
    Object.entries(labels).filter(([key]) => key.startsWith(driverPrefix) || key === targetLabel),
  )
}

/** The keys of labels for drivers that two sets of labels do not have in common. */
export function changedDriverLabels(before: Labels, after: Labels): string[] {
  const keys = Object.keys(driverLabels({ ...before, ...after }))
  return keys.filter((key) => before[key] !== after[key])
}
