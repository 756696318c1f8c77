import { readdirSync, rmdirSync } from 'node:fs'

const root = '/sys/fs/cgroup'

const foldersOf = (path: string) =>
  readdirSync(path, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []))

/** Names of the control groups at the top of every hierarchy. */
export function topGroups(): ReadonlySet<string> {
  return new Set(foldersOf(root).flatMap((controller) => foldersOf(`${root}/${controller}`)))
}

/** runc removes a container's own control group, but not the namespace's above it; containerd leaves that too. */
export function removeEmptyGroups(namespace: string): void {
  // With cgroup v2 alone there is one hierarchy, at the root itself.
  for (const controller of ['.', ...foldersOf(root)]) {
    try {
      rmdirSync(`${root}/${controller}/${namespace}`)
    } catch {
      // Not there, or not empty: then the leak check says so.
    }
  }
}
