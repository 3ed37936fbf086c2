package main

// The types of /etc/i2kit/pod.json; what they mean stands in docs/reference/guest.md.

type pod struct {
	Schema                        int                      `json:"schema"`
	RestartPolicy                 string                   `json:"restartPolicy"`
	TerminationGracePeriodSeconds int                      `json:"terminationGracePeriodSeconds"`
	DrainSeconds                  int                      `json:"drainSeconds"`
	HealthPort                    int                      `json:"healthPort"`
	MetadataAccess                bool                     `json:"metadataAccess"` // containers may ask the cloud's metadata service
	Inventory                     map[string]inventorySpec `json:"inventory"`
	Containers                    []containerSpec          `json:"containers"`
	Volumes                       []volumeSpec             `json:"volumes"`
}

const (
	restartAlways    = "Always"
	restartOnFailure = "OnFailure"
	restartNever     = "Never"
)

type containerSpec struct {
	Name           string        `json:"name"`
	Root           string        `json:"root"`
	Env            []envSpec     `json:"env"`
	Mounts         []mountSpec   `json:"mounts"`
	Resources      resourcesSpec `json:"resources"`
	StartupProbe   *probeSpec    `json:"startupProbe"`
	LivenessProbe  *probeSpec    `json:"livenessProbe"`
	ReadinessProbe *probeSpec    `json:"readinessProbe"`
}

// An envSpec has a value, a secret or a field.
type envSpec struct {
	Name     string `json:"name"`
	Value    string `json:"value"`
	Secret   string `json:"secret"`
	Key      string `json:"key"`
	Optional bool   `json:"optional"`
	Field    string `json:"field"`
}

type mountSpec struct {
	Volume   string `json:"volume"`
	Path     string `json:"path"`
	SubPath  string `json:"subPath"`
	ReadOnly bool   `json:"readOnly"`
}

// resourcesSpec holds limits; 0 means none.
type resourcesSpec struct {
	MemoryBytes int64 `json:"memoryBytes"`
	CPUMillis   int64 `json:"cpuMillis"`
}

// A volumeSpec has files, an emptyDir or a secret.
type volumeSpec struct {
	Name     string        `json:"name"`
	Files    string        `json:"files"`
	EmptyDir *emptyDirSpec `json:"emptyDir"`
	Secret   *secretSpec   `json:"secret"`
}

type emptyDirSpec struct {
	Medium    string `json:"medium"`
	SizeBytes int64  `json:"sizeBytes"`
}

type secretSpec struct {
	Items []secretItem `json:"items"`
}

type secretItem struct {
	Secret   string `json:"secret"`
	Key      string `json:"key"`
	Path     string `json:"path"`
	Mode     *int   `json:"mode"`
	Optional bool   `json:"optional"`
}

// A probeSpec has http, tcp or exec.
type probeSpec struct {
	HTTP                *httpSpec `json:"http"`
	TCP                 *tcpSpec  `json:"tcp"`
	Exec                *execSpec `json:"exec"`
	InitialDelaySeconds int       `json:"initialDelaySeconds"`
	PeriodSeconds       int       `json:"periodSeconds"`
	TimeoutSeconds      int       `json:"timeoutSeconds"`
	SuccessThreshold    int       `json:"successThreshold"`
	FailureThreshold    int       `json:"failureThreshold"`
}

type httpSpec struct {
	Path    string       `json:"path"`
	Port    int          `json:"port"`
	Scheme  string       `json:"scheme"`
	Host    string       `json:"host"`
	Headers []headerSpec `json:"headers"`
}

type headerSpec struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type tcpSpec struct {
	Port int    `json:"port"`
	Host string `json:"host"`
}

type execSpec struct {
	Command []string `json:"command"`
}

// An inventorySpec is what must be there, but for the files that have several names: a builder may have made links of them.
type inventorySpec struct {
	inventoryEntry
	Links []string `json:"links"`
}

type inventoryEntry struct {
	Files  int    `json:"files"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}
