/** Tells the collector of a program that has one, as containerd has, that a snapshot is wanted until it is removed. */
const wantedLabel = 'containerd.io/gc.root'

type Labels = Readonly<Record<string, string>>

/**
 * Labels for a snapshot over there. Its containers and images are not there to hold it, only with us: without the label
 * its first collection would take it.
 */
export function wanted(labels: Labels): Record<string, string> {
  return { ...labels, [wantedLabel]: new Date().toISOString() }
}

/** What a program has on a snapshot, without what is for its own collector: ours would never let go of it either. */
export function forUs(labels: Labels): Record<string, string> {
  const { [wantedLabel]: _, ...others } = labels
  return others
}
