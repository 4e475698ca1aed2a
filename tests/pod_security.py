"""The "restricted" Pod Security standard, as far as it concerns pods without Windows, host paths and ephemeral containers.

https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
"""

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def restricted_problems(spec):
    """Return what the standard forbids in a pod's spec."""
    pod = spec.get("securityContext", {})
    problems = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    problems += [
        f"volume {each['name']}" for each in spec.get("volumes", []) if not VOLUMES & each.keys() or "hostPath" in each
    ]
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        own = {**pod, **container.get("securityContext", {})}
        wrong = {
            "privileged": own.get("privileged", False),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is not False,
            "runAsNonRoot": own.get("runAsNonRoot") is not True,
            "runAsUser": own.get("runAsUser") == 0,
            "seccompProfile": own.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"},
            "capabilities": own.get("capabilities", {}).get("drop") != ["ALL"]
            or bool(set(own["capabilities"].get("add", [])) - {"NET_BIND_SERVICE"}),
            "hostPort": any(port.get("hostPort") for port in container.get("ports", [])),
        }
        problems += [f"{container['name']}: {name}" for name, bad in wrong.items() if bad]
    return problems
