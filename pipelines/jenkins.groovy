// Jenkinsfile, with the plugin OpenID Connect Provider (newer than 96) and a credential of its kind "id token", whose
// audience is the gate's address. DIGEST comes from an earlier stage.
pipeline {
  agent any
  stages {
    stage('Deploy') {
      when { branch 'main' }
      steps {
        withCredentials([string(credentialsId: 'countersign', variable: 'COUNTERSIGN_TOKEN')]) {
          sh '''
            countersign request --gate https://gate.example.com --environment production \
              --service projects/my-project/locations/europe-west1/services/web \
              --image "europe-docker.pkg.dev/my-project/app/web@$DIGEST" \
              --reason "Build $BUILD_TAG" --wait --timeout 55m --evidence approval.evidence.json
          '''
        }
        archiveArtifacts 'approval.evidence.json'
      }
    }
  }
}
