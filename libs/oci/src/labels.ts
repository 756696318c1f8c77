/** Labels of content that begin so name the repositories of a registry's host that have it; containerd writes them. */
export const sourcePrefix = 'containerd.io/distribution.source.'
